"""What `ports.queues` promises, as tests. Subclass `QueuesContract` and supply the fixtures `queues` and `pass_time`.

`pass_time(seconds)` makes the adapter's clock go on: at once where it is injected, by waiting where it is a server's.
What has to be found before some time is over is asked for in its middle, so that a server's clock may run ahead.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, Pipe, TenantId
from bloomweaver.ports import queues as ports

PassTime = Callable[[float], Awaitable[None]]
QUEUE = "change:space-1"
VISIBILITY_SECONDS = 30.0
HANG_SECONDS = 60.0
"""Nothing here takes as long, on however busy a machine."""


def hints(count: int, *, first: int = 0) -> list[Hint]:
    """Hints of different documents, each with every field."""
    return [
        Hint(
            tenant=TenantId("acme"),
            collection_uid=CollectionUid("c0ffee"),
            document_id=DocumentId(f"leave/größe {number} 😀"),
            seq=2**52 + number,
            pipe=Pipe("0123456789abcdef"),
            traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        for number in range(first, first + count)
    ]


async def take(queues: ports.Queues, *, queue: str = QUEUE, limit: int = 10) -> list[ports.Delivery]:
    """What is there now."""
    return await queues.receive(queue, limit=limit, visibility_seconds=VISIBILITY_SECONDS)


async def depth(queues: ports.Queues, queue: str = QUEUE) -> ports.Depth:
    """What the queue holds; a queue that nobody knows holds nothing."""
    return (await queues.depths()).get(queue, ports.Depth())


class QueuesContract:
    """Every adapter passes these unchanged. tells_age: whether the store knows how old its oldest hint is."""

    tells_age = True

    async def test_a_hint_arrives_as_it_was_sent(self, queues: ports.Queues) -> None:
        bare = Hint(TenantId("t"), CollectionUid("c"), DocumentId("d"), 1)
        await queues.send(QUEUE, [*hints(2), bare])
        found = await take(queues)
        assert {delivery.hint for delivery in found} == {*hints(2), bare}
        assert {delivery.receives for delivery in found} == {1}

    async def test_an_unknown_queue_is_empty(self, queues: ports.Queues) -> None:
        assert await take(queues, queue="never-used") == []
        assert await queues.dead("never-used", limit=10) == []

    async def test_queues_do_not_mix(self, queues: ports.Queues) -> None:
        await queues.send("create", hints(1))
        await queues.send("update", hints(1, first=1))
        assert [delivery.hint for delivery in await take(queues, queue="create")] == hints(1)
        assert [delivery.hint for delivery in await take(queues, queue="update")] == hints(1, first=1)

    async def test_no_more_than_the_limit_is_received(self, queues: ports.Queues) -> None:
        await queues.send(QUEUE, hints(5))
        first, second = await take(queues, limit=3), await take(queues, limit=3)
        assert (len(first), len(second)) == (3, 2)
        assert {delivery.hint for delivery in (*first, *second)} == set(hints(5))

    async def test_a_delivery_is_invisible_until_its_time_out(self, queues: ports.Queues, pass_time: PassTime) -> None:
        await queues.send(QUEUE, hints(1))
        await take(queues)
        await pass_time(VISIBILITY_SECONDS - 5)
        assert await take(queues) == []
        await pass_time(6)
        assert [delivery.receives for delivery in await take(queues)] == [2]

    async def test_an_acked_hint_never_comes_back(self, queues: ports.Queues, pass_time: PassTime) -> None:
        await queues.send(QUEUE, hints(3))
        await queues.ack(QUEUE, await take(queues))
        await pass_time(VISIBILITY_SECONDS + 1)
        assert await take(queues) == []
        assert await depth(queues) == ports.Depth()

    async def test_acking_twice_does_nothing_more(self, queues: ports.Queues) -> None:
        await queues.send(QUEUE, hints(1))
        found = await take(queues)
        await queues.send(QUEUE, hints(1, first=1))
        await queues.ack(QUEUE, found)
        await queues.ack(QUEUE, found)
        assert [delivery.hint for delivery in await take(queues)] == hints(1, first=1)

    async def test_the_ack_of_a_zombie_does_not_take_the_hint_from_its_new_reader(
        self, queues: ports.Queues, pass_time: PassTime
    ) -> None:
        await queues.send(QUEUE, hints(1))
        zombie = await take(queues)
        await pass_time(VISIBILITY_SECONDS + 1)
        await take(queues)
        await queues.ack(QUEUE, zombie)
        await queues.release(QUEUE, zombie)
        assert await take(queues) == []
        await pass_time(VISIBILITY_SECONDS + 1)
        assert [delivery.receives for delivery in await take(queues)] == [3]

    async def test_a_receipt_of_a_hint_that_is_gone_never_fits_another(self, queues: ports.Queues) -> None:
        await queues.send(QUEUE, hints(1))
        old = await take(queues)
        await queues.ack(QUEUE, old)
        await queues.send(QUEUE, hints(1, first=1))
        new = await take(queues)
        await queues.ack(QUEUE, old)
        assert (await depth(queues)).in_flight == 1
        await queues.ack(QUEUE, new)
        assert (await depth(queues)).total == 0

    async def test_a_released_hint_is_there_at_once_or_after_its_delay(
        self, queues: ports.Queues, pass_time: PassTime
    ) -> None:
        await queues.send(QUEUE, hints(1))
        await queues.release(QUEUE, await take(queues))
        again = await take(queues)
        assert [delivery.receives for delivery in again] == [2]
        await queues.release(QUEUE, again, delay_seconds=60.0)
        await pass_time(30)
        assert await take(queues) == []
        await pass_time(31)
        assert [delivery.receives for delivery in await take(queues)] == [3]

    async def test_a_heartbeat_keeps_a_hint_invisible(self, queues: ports.Queues, pass_time: PassTime) -> None:
        await queues.send(QUEUE, hints(1))
        found = await take(queues)
        await pass_time(VISIBILITY_SECONDS * 0.6)
        await queues.extend(QUEUE, found, visibility_seconds=VISIBILITY_SECONDS)
        await pass_time(VISIBILITY_SECONDS * 0.6)
        assert await take(queues) == []
        await queues.ack(QUEUE, found)
        await pass_time(VISIBILITY_SECONDS)
        assert await take(queues) == []

    async def test_a_delayed_hint_comes_when_its_delay_is_over(self, queues: ports.Queues, pass_time: PassTime) -> None:
        await queues.send(QUEUE, hints(1), delay_seconds=60.0)
        await pass_time(30)
        assert await take(queues) == []
        await pass_time(31)
        assert [delivery.hint for delivery in await take(queues)] == hints(1)

    async def test_a_hint_that_nobody_finishes_dies_after_its_tenth_receive(
        self, queues: ports.Queues, pass_time: PassTime
    ) -> None:
        await queues.send(QUEUE, hints(1))
        for receives in range(1, ports.MAX_RECEIVES + 1):
            found = await take(queues)
            assert [delivery.receives for delivery in found] == [receives]
            if receives in (1, ports.MAX_RECEIVES):  # however a receive ends, it counts
                await pass_time(VISIBILITY_SECONDS + 1)
            else:
                await queues.release(QUEUE, found)
        assert await take(queues) == []
        assert await depth(queues) == ports.Depth(dead=1)
        assert [delivery.hint for delivery in await queues.dead(QUEUE, limit=10)] == hints(1)

    async def test_a_dead_hint_does_not_hold_up_the_others(self, queues: ports.Queues) -> None:
        await self._kill(queues, hints(3))
        await queues.send(QUEUE, hints(3, first=3))
        assert {delivery.hint for delivery in await take(queues, limit=3)} == set(hints(3, first=3))

    async def test_dead_letters_are_given_once_a_minute_until_acked(
        self, queues: ports.Queues, pass_time: PassTime
    ) -> None:
        await self._kill(queues, hints(3))
        first = await queues.dead(QUEUE, limit=2)
        second = await queues.dead(QUEUE, limit=2)
        assert {delivery.hint for delivery in (*first, *second)} == set(hints(3))
        assert await queues.dead(QUEUE, limit=2) == []
        await queues.ack(QUEUE, first)
        await pass_time(61)
        assert [delivery.hint for delivery in await queues.dead(QUEUE, limit=3)] == [second[0].hint]
        assert (await depth(queues)).dead == 1

    async def test_depths_tell_what_waits_and_for_how_long(self, queues: ports.Queues, pass_time: PassTime) -> None:
        await queues.send(QUEUE, hints(3))
        await queues.send(QUEUE, hints(1, first=3), delay_seconds=600.0)
        await take(queues, limit=1)
        await pass_time(10)
        found = await depth(queues)
        assert (found.visible, found.in_flight, found.delayed, found.dead) == (2, 1, 1, 0)
        assert found.total == 4
        age = found.oldest_age_seconds
        assert age is not None and 9 <= age <= 15 if self.tells_age else age is None

    async def test_a_receive_waits_for_the_first_hint(self, queues: ports.Queues) -> None:
        waiting = asyncio.create_task(
            queues.receive(QUEUE, limit=10, visibility_seconds=VISIBILITY_SECONDS, wait_seconds=4 * HANG_SECONDS)
        )
        await asyncio.sleep(0)
        await queues.send(QUEUE, hints(1))
        async with asyncio.timeout(HANG_SECONDS):
            assert [delivery.hint for delivery in await waiting] == hints(1)

    async def test_a_receive_waits_no_longer_than_told(self, queues: ports.Queues) -> None:
        async with asyncio.timeout(HANG_SECONDS):
            assert await queues.receive(QUEUE, limit=1, visibility_seconds=1.0, wait_seconds=0.05) == []

    async def test_a_receive_that_is_given_up_takes_nothing(self, queues: ports.Queues) -> None:
        waiting = asyncio.create_task(
            queues.receive(QUEUE, limit=1, visibility_seconds=VISIBILITY_SECONDS, wait_seconds=20.0)
        )
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        await queues.send(QUEUE, hints(1))
        assert len(await take(queues)) == 1

    async def test_racing_receivers_share_what_racing_senders_send(self, queues: ports.Queues) -> None:
        sent, received = hints(200), Counter[Hint]()

        async def send(batch: Sequence[Hint]) -> None:
            await queues.send(QUEUE, batch)

        async def receive() -> None:
            while received.total() < len(sent):
                found = await queues.receive(QUEUE, limit=7, visibility_seconds=600.0, wait_seconds=0.1)
                received.update(delivery.hint for delivery in found)
                await queues.ack(QUEUE, found)

        senders = [send(sent[start : start + 10]) for start in range(0, len(sent), 10)]
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(*senders, *(receive() for _ in range(5)))
        assert received == Counter(sent)
        assert (await depth(queues)).total == 0

    async def _kill(self, queues: ports.Queues, doomed: Sequence[Hint]) -> None:
        await queues.send(QUEUE, doomed)
        for _ in range(ports.MAX_RECEIVES + 1):
            await queues.release(QUEUE, await take(queues))
        assert (await depth(queues)).dead == len(doomed)
