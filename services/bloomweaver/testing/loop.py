"""A virtual-time event loop and simulated processes on it: production coroutines, without their waiting.

Invariant: two runs with the same seed do the same in the same order. Time jumps to the next timer, the order of what is
ready is drawn from the seed, nothing runs in a thread, and no hash order or garbage collection decides anything.
"""

import asyncio
import contextvars
import heapq
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent import futures
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_NOTHING = contextvars.Context()
_SLEPT = vars(asyncio.futures)["_set_result_unless_cancelled"]  # how asyncio.sleep ends
EPOCH_SECONDS = 1_800_000_000.0


class Killed(BaseException):
    """The simulated process was killed: nothing more of it happens. No Exception, so that no handler outlives it."""


class Lost(Exception):
    """The process died while it worked on a request; whether it did it is unknown, as for a closed connection."""


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set, so the awaited result can never come."""


class _Call(asyncio.TimerHandle):
    """A callback that is to be called, now or at some time. It has only what asyncio's own would need here."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: Sequence[Any],
        context: contextvars.Context | None,
        when: float = 0.0,
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context() if context is None else context
        self._cancelled = False
        self._when = when

    def __repr__(self) -> str:
        return f"<{self._callback!r} at {self._when}>"

    def cancel(self) -> None:
        self._cancelled = True

    def over(self) -> bool:
        """Whether there is nothing to run any more."""
        return self._cancelled

    def due(self, turn: "list[_Call]") -> None:
        """Its time has come: it takes part in the turn."""
        turn.append(self)

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call it; an error is told to the loop's exception handler, as every loop does."""
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # handed to the loop's exception handler
            loop.call_exception_handler({"message": f"{self._callback!r} failed", "exception": error})


class _Wake(_Call):
    """Ends somebody's sleep. The sleeper's own next step is what the order of a turn is drawn for, so this has none."""

    __slots__ = ()

    def over(self) -> bool:
        future: asyncio.Future[object] = self._args[0]
        return self._cancelled or future.done()

    def due(self, turn: list[_Call]) -> None:
        if not self.over():
            self._callback(*self._args)


def _wake(future: asyncio.Future[None]) -> None:
    future.set_result(None)


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is virtual seconds from 0. What is ready at one moment runs in an order drawn from rng."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._virtual_now = 0.0
        self._rng = rng
        self._turn: list[_Call] = []
        self._timers: list[tuple[float, int, _Call]] = []
        self._stopping = False
        self._timers_set = 0
        self.turns = 0
        self.set_task_factory(_tracked_task)

    def time(self) -> float:
        return self._virtual_now

    def run_in_executor(
        self, executor: futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Runs at once, in line: threads would bring in the machine's own timing."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to the caller, as an executor does
            future.set_exception(error)
        return future

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As BaseEventLoop's, without its checks: this is most of what a simulation does."""
        handle = _Call(callback, args, context)
        self._turn.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # there is no other thread

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As BaseEventLoop's, on a heap whose entries compare fast. Timers of one moment keep their order."""
        return self._set(_Call(callback, args, context, when))

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """See call_at."""
        if callback is _SLEPT:
            return self._set(_Wake(callback, args, context, self._virtual_now + delay))
        return self._set(_Call(callback, args, context, self._virtual_now + delay))

    def _set(self, timer: _Call) -> _Call:
        self._timers_set += 1
        heapq.heappush(self._timers, (timer.when(), self._timers_set, timer))
        return timer

    def pause(self, seconds: float) -> asyncio.Future[None]:
        """As `asyncio.sleep`, for whoever does nothing but sleep."""
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        self._set(_Wake(_wake, (future,), _NOTHING, self._virtual_now + seconds))
        return future

    def _run_once(self) -> None:
        """Turn after turn until told to stop: what BaseEventLoop does, with a jump in place of the selector."""
        timers, shuffle = self._timers, self._rng.shuffle
        while not self._stopping:
            while timers and timers[0][2].over():
                heapq.heappop(timers)
            if not self._turn:
                if not timers:
                    raise Deadlock("nothing is ready and no timer is set")
                self._virtual_now = max(self._virtual_now, timers[0][0])
            while timers and timers[0][0] <= self._virtual_now:
                heapq.heappop(timers)[2].due(self._turn)
            turn, self._turn = self._turn, []
            if len(turn) > 1:
                shuffle(turn)
            self.turns += len(turn)
            for handle in turn:
                if not handle._cancelled:  # noqa: SLF001 - a loop looks at its handles
                    handle.run(self)

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: object) -> None:
        """There are no events but timers."""


class Host:
    """A simulated process: the tasks that were started in it, alive until killed. A restart is another Host."""

    def __init__(self, name: str, *, loop: VirtualLoop, skew_seconds: float = 0.0) -> None:
        self.name = name
        self.skew_seconds = skew_seconds
        self.alive = True
        self.frozen_until = 0.0
        self.failures: list[BaseException] = []
        self._loop = loop
        self._numbered: dict[int, asyncio.Task[Any]] = {}
        self._next = 0

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process; all that it starts belongs to it as well. Its failure is kept in `failures`."""
        context = contextvars.copy_context()
        context.run(_HOST.set, self)
        task = self._loop.create_task(work, context=context)
        task.add_done_callback(self._ended)
        return task

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """A request to this process: its answer, or Lost when the process dies before it is given."""
        if not self.alive:
            work.close()
            raise Lost
        context = contextvars.copy_context()
        context.run(_HOST.set, self)
        task = self._loop.create_task(work, context=context)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            raise
        if self._died() or task.cancelled():
            raise Lost
        return task.result()

    def _died(self) -> bool:
        return not self.alive

    def kill(self) -> None:
        """As kill -9: every port call from now on raises Killed, so that no clean-up reaches the outside."""
        self.alive = False
        for task in list(self._numbered.values()):
            task.cancel()

    def check(self) -> None:
        """Raise Killed in a dead process."""
        if not self.alive:
            raise Killed(self.name)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Called by the loop for every task that is made inside this process."""
        number = self._next
        self._next += 1
        self._numbered[number] = task
        task.add_done_callback(lambda ended: self._forget(number, ended))
        if not self.alive:
            task.cancel()

    def _forget(self, number: int, task: asyncio.Task[Any]) -> None:
        del self._numbered[number]
        if not self.alive and not task.cancelled():
            task.exception()  # retrieved: what a dead process had to say is of no interest

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self.alive and not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)


_HOST: contextvars.ContextVar[Host | None] = contextvars.ContextVar("simulated_host", default=None)


def _tracked_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    host = context.get(_HOST) if context is not None else _HOST.get()
    if host is not None:
        host.adopt(task)
    return task


class VirtualClock:
    """The clock port of one simulated process: virtual time, its wall clock off by the host's skew."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, skew_seconds: float = 0.0) -> None:
        self._loop = loop
        self._offset = EPOCH_SECONDS + skew_seconds

    def now(self) -> float:
        return self._offset + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()


class SeededNonces:
    """The nonces port, drawn from the seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def nonce(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"

    def secret(self, size_bytes: int) -> bytes:
        return self._rng.randbytes(size_bytes)
