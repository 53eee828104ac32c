"""One PostgreSQL database behind several ports: transactions, reads, and notifications.

    async with engine.open_engine(url, clock=None, nonces=nonces) as e:
        async with e.transaction() as tx: await tx.connection.execute(...)

Invariants: when a transaction's context has ended, its effects are durable; a read sees every commit that returned
before it began, and one moment only; times are the database's own (`clock_timestamp()`), whatever machine asks, unless
a test brings a clock. Vendor errors leave here translated.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import psycopg
import psycopg_pool
from psycopg import pq

from bloomweaver.adapters.engines.postgresql import addresses, failures, migrations
from bloomweaver.domain import errors
from bloomweaver.ports import clock as clocks

POOL_WAIT_SECONDS = 10.0
RECONNECT_SECONDS = 4.0
"""So long a lost connection is made again by itself, with longer and longer pauses; then whoever needs one has one made
at once. The pauses of a longer outage would go on after it."""

DRAIN_SECONDS = 0.5
"""Calls that lose their connections together give the others up once."""

CALL_SECONDS = addresses.STATEMENT_SECONDS + 30.0
"""So long at most a call has a connection. The server ends a statement before, where it still can say so: beyond that
nobody answers any more, or something on the way holds the answer back."""
TRIES = 5
FIRST_PAUSE_SECONDS = 0.02
LISTENER_PAUSE_SECONDS = 1.0
LISTENER_TURN_SECONDS = 30.0
"""So long at most an idle listener trusts its connection."""

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Record: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = psycopg.AsyncConnection[Record]
T = TypeVar("T")


@dataclass(slots=True)
class Transaction:
    """One connection inside a transaction. now: the ledger's time when it began.

    ended: set by `commit`, which a step may call itself, to send its last statements along.
    """

    connection: Connection
    now: float
    ending: bool = False
    ended: bool = False

    async def rows(self, statement: str, values: Sequence[object] | dict[str, object] = ()) -> list[Record]:
        """All rows of a query."""
        cursor = await self.connection.execute(statement.encode(), values)
        return await cursor.fetchall()

    async def row(self, statement: str, values: Sequence[object] | dict[str, object] = ()) -> Record | None:
        """The first row of a query."""
        cursor = await self.connection.execute(statement.encode(), values)
        return await cursor.fetchone()

    async def run(self, statement: str, values: Sequence[object] | dict[str, object] = ()) -> int:
        """How many rows a statement touched."""
        return (await self.connection.execute(statement.encode(), values)).rowcount

    async def commit(self, *statements: tuple[str, Sequence[object]]) -> None:
        """These last statements and the commit, in one round trip. Afterwards the transaction is over."""
        async with self.connection.pipeline():
            for statement, values in statements:
                await self.connection.execute(statement.encode(), values)
            self.ending = True
            answer = await self.connection.execute("COMMIT")
        _check_committed(answer)
        self.ended = True


Step = Callable[[Transaction], Awaitable[T]]


class Engine:
    """What the adapters on PostgreSQL build on. `nonces` is here for them."""

    def __init__(
        self,
        address: addresses.Address,
        *,
        clock: clocks.Clock | None,
        nonces: clocks.Nonces,
        password: addresses.Password,
        migrates: bool,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.address = address
        self._call_seconds = call_seconds
        self._drained_at = float("-inf")
        self.nonces = nonces
        self._clock = clock
        self._password = password
        self._migrates = migrates
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] = psycopg_pool.AsyncConnectionPool(
            address.url,
            kwargs=self._settings,
            min_size=1,
            max_size=address.connections,
            open=False,
            timeout=POOL_WAIT_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            name="bloomweaver",
        )

    async def open(self) -> None:
        """Connect once, so that a wrong setting is told at the start."""
        connection = await self.connect()
        await connection.close()
        await self._pool.open()

    async def close(self) -> None:
        """Every connection is closed."""
        await self._pool.close()

    async def connect(self) -> Connection:
        """A connection of one's own, e.g. to listen on; whoever asked closes it."""
        with self._translating():
            return await psycopg.AsyncConnection.connect(self.address.url, **self._settings())

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """READ COMMITTED, committed on leaving, undone by an exception."""
        with self._translating():
            async with self._begun(_BEGIN) as tx:
                yield tx

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Read-only, and all of it at one moment."""
        with self._translating():
            async with self._begun(_BEGIN_READ) as tx:
                yield tx

    async def run(self, step: Step[T], *, reads: bool = False, repeatable: bool = True) -> T:
        """The step in a transaction, again where only others or the connection are to blame, at most TRIES times.

        repeatable: it may run again although an earlier run may have been committed (the answer to COMMIT was lost).
        """
        with self._translating():
            for tried in range(1, TRIES + 1):
                tx: Transaction | None = None
                try:
                    async with self._begun(_BEGIN_READ if reads else _BEGIN) as tx:
                        return await step(tx)
                except psycopg.Error as error:
                    uncertain = tx is not None and tx.ending and failures.is_lost(error) and not repeatable
                    if tried == TRIES or uncertain or not await self._worth_another(error):
                        raise
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 4 ** (tried - 1))
        raise AssertionError("the last try returns or raises")

    async def fetch(
        self, statement: str, values: Sequence[object] | dict[str, object] = (), *, binary: bool = False
    ) -> list[Record]:
        """The rows of one statement that may run twice: one round trip, a transaction of its own.

        binary: rows come in binary form, which is half the work where they hold bytes.
        """
        with self._translating():
            for tried in range(1, TRIES + 1):
                try:
                    async with self._borrowed() as connection:
                        cursor = await connection.execute(statement.encode(), values, binary=binary)
                        return await cursor.fetchall()
                except psycopg.Error as error:
                    if tried == TRIES or not await self._worth_another(error):
                        raise
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 4 ** (tried - 1))
        raise AssertionError("the last try returns or raises")

    async def now(self) -> float:
        """The ledger's time."""
        if self._clock is not None:
            return self._clock.now()
        ((now,),) = await self.fetch(_CLOCK)
        return float(now)

    @property
    def told_time(self) -> float | None:
        """The time that a test tells; None where the database dates what a statement does."""
        return None if self._clock is None else self._clock.now()

    async def listen(self, channel: str) -> AsyncIterator[str]:
        """What is notified on the channel, for ever. An empty string: something may have been missed, look yourself."""
        while True:
            try:
                async with contextlib.aclosing(self._heard(channel)) as heard:
                    async for payload in heard:
                        yield payload
            except (errors.TransientError, TimeoutError):
                await asyncio.sleep(LISTENER_PAUSE_SECONDS)

    async def apply(self, component: str) -> migrations.Migrated:
        """Bring the component's tables to this release's version."""
        async with self._alone() as connection:
            return await migrations.apply(connection, component, schema=self.address.schema, place=self.address.shown)

    async def ready(self, component: str) -> None:
        """The component's tables as this release needs them: made if this process migrates, else only checked."""
        if self._migrates:
            await self.apply(component)
            return
        async with self._alone() as connection:
            await migrations.check(connection, component, schema=self.address.schema, place=self.address.shown)

    async def _heard(self, channel: str) -> AsyncGenerator[str, None]:
        async with self._alone() as connection:
            await connection.execute(f'LISTEN "{channel}"'.encode())
            yield ""
            while True:
                async for notice in connection.notifies(timeout=LISTENER_TURN_SECONDS):
                    yield notice.payload
                async with asyncio.timeout(self._call_seconds):
                    await connection.execute("SELECT 1")  # a connection that died silently is found by asking

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection]:
        connection = await self.connect()
        try:
            with self._translating():
                yield connection
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Connection]:
        """One of the pool, for no longer than any call may take: then it counts as lost."""
        limit = asyncio.timeout(self._call_seconds)
        cancelled = _cancellations()
        try:
            async with limit, self._pool.connection() as connection:
                if _cancellations() > cancelled:
                    # The pool waits by `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes
                    # together with the answer. Who was cancelled would go on, and who waits for its end for ever.
                    raise asyncio.CancelledError
                yield connection
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise failures.NoAnswer(f"no answer within {self._call_seconds:g} s") from error

    @contextlib.asynccontextmanager
    async def _begun(self, begin: str) -> AsyncIterator[Transaction]:
        async with self._borrowed() as connection:
            tx = Transaction(connection, await self._begin(connection, begin))
            try:
                yield tx
            except BaseException:
                if connection.info.transaction_status != pq.TransactionStatus.IDLE and not connection.closed:
                    with contextlib.suppress(psycopg.Error):
                        await connection.execute("ROLLBACK")
                raise
            if not tx.ended:
                tx.ending = True
                _check_committed(await connection.execute("COMMIT"))

    async def _begin(self, connection: Connection, begin: str) -> float:
        if self._clock is not None:
            await connection.execute(begin.encode())
            return self._clock.now()
        cursor = await connection.execute(f"{begin}; {_CLOCK}".encode(), prepare=False)
        cursor.nextset()
        record = await cursor.fetchone()
        assert record is not None
        return float(record[0])

    async def _worth_another(self, error: psycopg.Error) -> bool:
        if not failures.is_lost(error):
            return failures.is_undone(error)
        # The server went away: the other connections are dead as well. They are not asked, for they may never answer.
        now = asyncio.get_running_loop().time()
        if now - self._drained_at > DRAIN_SECONDS:
            self._drained_at = now
            await self._pool.drain()
        return True

    def _settings(self) -> dict[str, Any]:
        settings = self.address.options
        password = self._password()
        return settings if password is None else {**settings, "password": password}

    @contextlib.contextmanager
    def _translating(self) -> Any:
        try:
            yield
        except psycopg.Error as error:
            told = failures.translated(error, place=self.address.shown)
            if told is None:
                raise
            raise told from error


def _cancellations() -> int:
    """How often the running task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _check_committed(answer: psycopg.AsyncCursor[Record]) -> None:
    if answer.statusmessage != "COMMIT":  # the server answers ROLLBACK where an error was swallowed inside
        raise psycopg.errors.InFailedSqlTransaction("the transaction could not be committed")


def no_password() -> str | None:
    """What the platform gives (PGPASSFILE, PGPASSWORD, a certificate) is enough."""
    return None


@contextlib.asynccontextmanager
async def open_engine(
    url: str,
    *,
    clock: clocks.Clock | None = None,
    nonces: clocks.Nonces,
    password: addresses.Password = no_password,
    migrates: bool = False,
    call_seconds: float = CALL_SECONDS,
) -> AsyncIterator[Engine]:
    """The engine of a `postgresql://` URL. clock None: the database's own decides.

    migrates: whether `ready` makes the tables, or only checks them. call_seconds: after which a call counts as lost.
    """
    engine = Engine(
        addresses.parse(url),
        clock=clock,
        nonces=nonces,
        password=password,
        migrates=migrates,
        call_seconds=call_seconds,
    )
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()
