"""A server that answers 202 and does nothing: what the machine and the generator could do at most."""

import asyncio
import sys

import uvicorn

from benchmarks import serving


async def answer(_scope, receive, send) -> None:
    """ASGI."""
    await receive()
    head = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 202, "headers": head})
    await send({"type": "http.response.body", "body": b"{}"})


def main() -> None:
    """Serve on the port that the command line names."""
    uvicorn.run(answer, host=serving.HOST, port=int(sys.argv[1]), lifespan="off", access_log=False, log_level="error")


async def start(port: int) -> asyncio.subprocess.Process:
    """The server as a process of its own."""
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.nothing", str(port))


if __name__ == "__main__":
    main()
