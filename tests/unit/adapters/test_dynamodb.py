import asyncio
import dataclasses
import email.utils
import random

import pytest

from bloomweaver.adapters import clock as system_clocks
from bloomweaver.adapters import opening
from bloomweaver.adapters.engines.dynamodb import documents, items, keys, sequences, timing
from bloomweaver.domain import errors, identity
from bloomweaver.domain.documents import (
    Collection,
    Content,
    DocumentKey,
    Generation,
    Meta,
    Ordering,
    Revision,
    Row,
    State,
    Version,
    VersionState,
)
from bloomweaver.domain.identity import BuildId, CollectionUid, DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import history
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world

KEY = DocumentKey(CollectionUid("uid"), DocumentId("a/b#c ä"))


def held(row: Row) -> documents.Held:
    collection = Collection(KEY.collection_uid, world.TENANT, "c", Ordering.ARRIVAL, "", 1.0)
    stored = items.StoredCollection(collection, Generation(KEY.collection_uid, 3, world.A))
    return documents.begin(stored, items.Gate(7, 0), row)


def test_a_row_comes_back_from_its_item_with_all_that_stands_beside_it():
    row = Row(
        KEY, 2**53 - 1, 2**63 - 1, fsrc=4, live=5, content_hash="h", meta_hash="m", started=5, attempts=2,
        next_try=1790000000.123456, reason=Reason.THROTTLED, detail="d", accepted_at=0.1 + 0.2, hinted_at=9.5, hints=3,
    )  # fmt: skip
    made = held(row)
    documents.put_version(made, Version(KEY, 5, world.A.pipe, BuildId("b"), 3, VersionState.LIVE, 8.25, "h"))
    made.sources = {5: documents.Source(4, 1.5), 1: documents.Source(1, 0.5)}
    made.builds = [documents.Build(world.A.pipe, BuildId("b"), 3)]
    made.remove_at = {(5, world.A.pipe): 77.0}
    made.gone_at, made.revisions, made.litter_at = 3.5, 2, 12.0
    documents.save(made)
    again = documents.load(made.stored, made.gate, documents.item_of(made))
    assert (again.row, again.versions, again.builds, again.remove_at) == (
        row,
        made.versions,
        made.builds,
        made.remove_at,
    )
    assert (again.n, again.lane, again.due_at) == (1, made.lane, made.due_at)
    assert (again.gone_at, again.revisions, again.litter_at, again.flip) == (3.5, 2, 12.0, 8)
    assert again.sources == {5: documents.Source(4, 1.5)}  # what nobody wants, shows or built is not kept


def test_a_version_that_failed_before_its_pipeline_became_active_is_tried_again():
    made = held(Row(KEY, 5, 5, live=5))
    documents.put_version(made, Version(KEY, 5, world.A.pipe, BuildId(""), 0, VersionState.FAILED, 1.0, ""))
    documents.put_version(made, Version(KEY, 5, world.B.pipe, BuildId(""), 0, VersionState.FAILED, 1.0, ""))
    again = documents.load(made.stored, made.gate, documents.item_of(made))
    assert [v.pipe for v in again.versions] == [world.B.pipe]


def test_only_rows_with_something_due_are_in_an_index():
    made = held(Row(KEY, 5, 5, live=5))
    documents.put_version(made, Version(KEY, 5, world.A.pipe, BuildId("b"), 1, VersionState.LIVE, 1.0, ""))
    documents.save(made)
    item = documents.item_of(made)
    assert not {hashed for hashed, _ in keys.INDEXES.values()} & item.keys()
    assert item["state"] == {"S": State.SEARCHABLE}


def test_of_more_steps_than_the_ring_holds_one_transaction_writes_the_last():
    made = held(Row(KEY, 5, 5))
    for number in range(keys.STEPS_KEPT + 10):
        documents.note(made, history.TimelineStep(1.0, history.StepName.REMOVED, number))
    told = [items.step_of(write["Put"]["Item"])[1].seq for write in made.writes]
    assert told == list(range(10, keys.STEPS_KEPT + 10))
    assert len({write["Put"]["Item"]["sk"]["S"] for write in made.writes}) == keys.STEPS_KEPT


def test_a_revision_comes_back_from_its_item():
    sent = Revision(
        KEY, 7, 2**63 - 1, Content("text/plain", "h", 9_000, text="ä😀" * 3_000),
        Meta("T", "u", {"n": 1.5, "t": ("a",)}), "api", "key:x", "req", "evt", None, 3.25, 12,
    )  # fmt: skip
    item = items.revision_item(sent)
    assert items.revision_of(KEY, item) == sent
    assert len(item["content"]["B"]) < 500  # a long text is compressed
    tombstone = dataclasses.replace(sent, content=None, meta=Meta(), tokens=None)
    assert items.revision_of(KEY, items.revision_item(tombstone)) == tombstone


def test_a_text_that_no_item_holds_is_the_documents_fault():
    noise = random.Random(1).randbytes(600_000).hex()  # more than 350 kB, however it is compressed
    with pytest.raises(errors.PermanentError) as refused:
        items.packed(noise)
    assert refused.value.reason is Reason.TEXT_TOO_LONG


def test_names_that_clients_choose_never_share_a_key():
    assert keys.batch("a", "b#c") != keys.batch("a#b", "c")
    assert keys.event("u", "a", "b:c") != keys.event("u", "a:b", "c")
    assert keys.parse_row(keys.row(KEY)[0]) == KEY.collection_uid
    assert documents.key_of(keys.row(KEY)) == KEY


class Counter:
    """The table's counter, as several processes lease from it."""

    def __init__(self) -> None:
        self.epoch, self.last, self.leases = 1, 0, 0

    async def lease(self, count: int) -> tuple[int, int]:
        self.leases += 1
        last = self.last = self.last + count
        await asyncio.sleep(0)
        return self.epoch, last


def sequence(counter: Counter, time: clocks.ManualClock) -> sequences.Sequence:
    return sequences.Sequence(counter.lease, monotonic=time.monotonic)


async def test_numbers_are_given_once_by_however_many_processes():
    counter, time = Counter(), clocks.ManualClock()
    one, two = sequence(counter, time), sequence(counter, time)
    taken = await asyncio.gather(*(which.take(above=0) for _ in range(400) for which in (one, two)))
    assert len(set(taken)) == 800
    assert counter.leases == 4


async def test_a_number_is_greater_than_the_rows_whoever_gave_that_one():
    counter, time = Counter(), clocks.ManualClock()
    one, two = sequence(counter, time), sequence(counter, time)
    await one.take(above=0)
    later = await two.take(above=0)
    assert await one.take(above=later) > later


async def test_a_block_is_not_used_for_long():
    counter, time = Counter(), clocks.ManualClock()
    one, two = sequence(counter, time), sequence(counter, time)
    await one.take(above=0)
    last = await two.take(above=0)
    time.advance(sequences.KEPT_SECONDS)
    assert await one.take(above=0) > last


async def test_a_table_that_was_restored_without_saying_so_is_refused():
    counter = Counter()
    with pytest.raises(errors.ConfigurationError, match="migrate --restored"):
        await sequence(counter, clocks.ManualClock()).take(above=identity.first_seq(1) + 10_000)


def observed(here: clocks.ManualClock, offset: float, *, took: float = 0.0) -> timing.ServiceClock:
    """A clock that heard a second's worth of answers of a service whose time is `offset` ahead."""
    made = timing.ServiceClock(here)
    for _ in range(50):
        sent_at = made.here()
        here.advance(0.02 + took)
        told = email.utils.formatdate(int(here.now() + offset), usegmt=True)
        made.observe(told, sent_at=sent_at, received_at=made.here())
    return made


@pytest.mark.parametrize("offset", [-4000.0, -3.5, 3.5, 4000.0])
def test_a_clock_that_is_wrong_is_held_to_what_answers_say(offset: float):
    here = clocks.ManualClock()
    made = observed(here, offset)
    assert abs(made.now() - (here.now() + offset)) < 0.1


def test_a_clock_that_is_right_is_left_alone():
    here = clocks.ManualClock(1_790_000_000.4)
    assert observed(here, 0.0).now() == here.now()
    assert observed(here, 0.0, took=2.0).now() == here.now()


def test_a_clock_that_is_set_is_found_out_by_the_next_answer():
    here = clocks.ManualClock()
    made = observed(here, 0.0)
    here.advance(900.0)  # set forward, or the machine slept: the service's time did not move with it
    told = email.utils.formatdate(int(here.now() - 900.0), usegmt=True)
    made.observe(told, sent_at=here.now(), received_at=here.now())
    assert abs(made.now() - (here.now() - 900.0)) <= 1.0


def test_an_answer_without_a_date_tells_nothing():
    here = clocks.ManualClock()
    made = timing.ServiceClock(here)
    made.observe("", sent_at=here.now(), received_at=here.now())
    assert made.now() == here.now()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("dynamodb://table/rows", "write dynamodb://table"),
        ("dynamodb://table?color=red", "is no setting of it"),
        ("dynamodb://key:secret@table", "never holds credentials"),
    ],
)
async def test_a_url_that_is_not_understood_is_refused_and_never_shows_a_secret(url: str, told: str):
    with pytest.raises(errors.ConfigurationError, match=told) as refused:
        async with opening.open_database(url, clock=clocks.ManualClock(), nonces=system_clocks.SystemNonces()):
            pass
    assert "secret" not in str(refused.value)


async def test_a_table_is_no_place_for_queues_blobs_or_vectors():
    addresses = opening.profile("dynamodb://table?region=r", queues="mem://", blobs="mem://", vectors="mem://")
    assert addresses == opening.Addresses("dynamodb://table?region=r", "mem://", "mem://", "mem://")
    with pytest.raises(errors.ConfigurationError, match="is no address for queues"):
        async with opening.open_queues(
            opening.profile("dynamodb://table").queues, clock=clocks.ManualClock(), nonces=system_clocks.SystemNonces()
        ):
            pass
