"""Clients of AWS services: credentials from the platform or a file, every call bounded, the SDK's own retries off.

Invariant: a call ends within its seconds, whatever the network does, and raises nothing but our errors (or `Refused`,
where its caller asked for it). Only what passes by itself is tried again, a few times, within those same seconds.
"""

import asyncio
import contextlib
import functools
import random
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import bloomweaver
from bloomweaver.adapters.engines.aws import addresses, failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

CONNECT_SECONDS = 3.0
READ_SECONDS = 60.0
CALL_SECONDS = 10.0
ATTEMPTS = 3
BACKOFF_SECONDS = 0.05
CONNECTIONS = 64


class Calls:
    """One client of one service. what: the thing behind it, in words, for messages.

    A call waits for one of `connections` before its seconds begin: a crowd of callers is no outage.
    """

    def __init__(self, client: Any, *, what: str, unavailable: Reason, connections: int) -> None:
        self.client = client
        self.what = what
        self._unavailable = unavailable
        self._free = asyncio.Semaphore(connections)

    @property
    def region(self) -> str:
        """Where the client sends its requests."""
        return str(self.client.meta.region_name)

    async def call(
        self,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float = CALL_SECONDS,
        attempts: int = ATTEMPTS,
        expected: Collection[str] = (),
        reads: str | None = None,
    ) -> dict[str, Any]:
        """One operation, named as in the SDK (`send_message_batch`).

        expected: codes that are raised as `failures.Refused`. attempts: only of what may be done twice. reads: the
        field of the answer that is a stream, read to its end within the same seconds.
        """
        try:
            async with self._free, asyncio.timeout(seconds):
                for attempt in range(1, attempts):
                    try:
                        return await self._once(operation, parameters, expected, reads)
                    except errors.TransientError:
                        await asyncio.sleep(pause_seconds(attempt))
                return await self._once(operation, parameters, expected, reads)
        except TimeoutError as error:
            detail = f"{self.what} did not answer within {seconds:.0f} s."
            raise errors.TransientError(self._unavailable, detail) from error

    async def _once(
        self, operation: str, parameters: Mapping[str, Any], expected: Collection[str], reads: str | None
    ) -> dict[str, Any]:
        import aiohttp
        import botocore.exceptions

        try:
            answer: dict[str, Any] = await getattr(self.client, operation)(**parameters)
            if failures.is_web_page(answer):
                raise failures.web_page(what=self.what, unavailable=self._unavailable)
            if reads is not None:
                async with answer[reads] as stream:
                    answer[reads] = await stream.read()
            return answer
        except botocore.exceptions.ClientError as error:
            named = next((code for code in failures.codes(error.response) if code in expected), None)
            if named is not None:
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                raise failures.Refused(named, status=status, response=error.response) from error
            raise failures.answered(error.response, what=self.what, unavailable=self._unavailable) from error
        except (botocore.exceptions.BotoCoreError, aiohttp.ClientError) as error:
            raise failures.raised(error, what=self.what, unavailable=self._unavailable) from error


def pause_seconds(attempt: int) -> float:
    """Before the attempt after this one: longer each time, and never the same for two clients."""
    return float(BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311  # it spreads retries, and guards nothing


@contextlib.asynccontextmanager
async def open_calls(
    service: str,
    access: addresses.Access,
    *,
    what: str,
    unavailable: Reason,
    read_seconds: float = READ_SECONDS,
    connections: int = CONNECTIONS,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Calls]:
    """A client until the context ends. settings: of the SDK's client configuration, for one service's needs."""
    try:
        import aiobotocore  # noqa: F401 - whether it is there; it is imported where it is used
        import botocore.exceptions
    except ImportError as error:
        detail = f"{what} needs the extra `aws`: install bloomweaver[aws]."
        raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from error
    config = _configuration(read_seconds, connections, settings or {})
    async with contextlib.AsyncExitStack() as stack:
        try:
            session = _session(access)
            if not (access.region or session.get_config_variable("region")):
                raise addresses.refused(what, "no region; add ?region=… or set it on the platform")
            opening = session.create_client(
                service,
                region_name=access.region,
                endpoint_url=access.endpoint,
                verify=_authorities(access, session, what=what),
                config=config,
            )
            client = await stack.enter_async_context(opening)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise failures.raised(error, what=what, unavailable=unavailable) from error
        yield Calls(client, what=what, unavailable=unavailable, connections=connections)


def _configuration(read_seconds: float, connections: int, settings: Mapping[str, Any]) -> Any:
    from aiobotocore import config as sdk_configs

    return sdk_configs.AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=connections,
        tcp_keepalive=True,
        # Without one, the SDK puts its own together from forty parts for every request: a fifth of the work of a call.
        user_agent=f"bloomweaver/{bloomweaver.__version__}",
        **settings,
    )


def _authorities(access: addresses.Access, session: Any, *, what: str) -> str | None:
    """The file of those that are trusted; None for the SDK's own. One that cannot be read is told now, and by name."""
    file: str | None = access.ca_file or session.get_config_variable("ca_bundle")
    if file is not None:
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            why = f"no file with certificates of the authorities for {what} ({error.strerror or error})"
            raise addresses.refused(file, why) from error
    return file


def _session(access: addresses.Access) -> Any:
    """The SDK's session; its chain of credential sources, or one file alone where the URL names it."""
    from aiobotocore import credentials
    from aiobotocore import session as sessions

    session = sessions.AioSession(profile=access.profile) if not access.credentials_file else sessions.AioSession()
    if access.credentials_file:
        provider = credentials.AioSharedCredentialProvider(
            creds_filename=access.credentials_file, profile_name=access.profile or "default"
        )
        resolver = credentials.AioCredentialResolver(providers=[provider])
        session.register_component("credential_provider", resolver)
    session.register_component("data_loader", _descriptions())
    return session


@functools.cache
def _descriptions() -> Any:
    """The SDK's descriptions of services, read once for all clients of the process: each reading costs 60 ms."""
    from aiobotocore import session as sessions

    return sessions.AioSession().get_component("data_loader")
