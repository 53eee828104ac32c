"""`python -m bloomweaver.testing.sqs_wire`: the double as a process, until it is stopped. Prints its address."""

import argparse
import asyncio
import dataclasses

from bloomweaver.adapters import clock
from bloomweaver.testing.sqs_wire import faults, server


async def main(port: int, seed: int, misbehaviour: faults.Misbehaviour) -> None:
    """Serves for ever."""
    async with server.serve(clock=clock.SystemClock(), seed=seed, port=port) as double:
        double.misbehave(misbehaviour)
        print(double.url, flush=True)  # noqa: T201  # whoever started it reads where it is
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bloomweaver.testing.sqs_wire", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    for fault in dataclasses.fields(faults.Misbehaviour):
        parser.add_argument(f"--{fault.name.replace('_', '-')}", type=float, default=fault.default)
    given = vars(parser.parse_args())
    port, seed = given.pop("port"), given.pop("seed")
    asyncio.run(main(port, seed, faults.Misbehaviour(**given)))
