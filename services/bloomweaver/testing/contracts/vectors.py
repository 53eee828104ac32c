"""What `ports.vectors` promises, as tests. Subclass `VectorsContract` in a test file and supply the fixture `vectors`.

A store without a read barrier is asked again until it answers as it should, for as long as `patience_seconds`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from bloomweaver.domain import errors, filters, identity
from bloomweaver.domain.documents import Metadata
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors as ports

NAMESPACE = "dep.c0ffee.0123456789abcdef"
PIPE = "0123456789abcdef"
DIMENSION = 8
PAUSE_SECONDS = 0.02


def unit(*values: float) -> ports.Vector:
    """A vector of unit norm in that direction."""
    vector = np.zeros(DIMENSION, np.float32)
    vector[: len(values)] = values
    found: ports.Vector = vector / np.linalg.norm(vector)
    return found


def record(document_id: str, vector: ports.Vector, *, seq: int = 1, index: int = 0, **metadata: object) -> ports.Record:
    """One chunk of a document, with metadata as keywords."""
    vector_id = f"{identity.vector_prefix(document_id, seq, PIPE)}{index}"
    fields: Metadata = metadata  # type: ignore[assignment]  # what a test writes is metadata
    return ports.Record(vector_id, document_id, seq, index, vector, fields)


def random_records(count: int, *, seed: int = 0) -> list[ports.Record]:
    """Chunks of `count` documents in random directions; every other document is of team `a`."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    teams = ("a", "b")
    return [record(f"doc-{n}", row, index=n % 3, team=teams[n % 2], n=n) for n, row in enumerate(rows)]


class VectorsContract:
    """Every adapter passes these unchanged."""

    patience_seconds = 0.0

    async def test_an_unknown_namespace_is_empty(self, vectors: ports.Vectors) -> None:
        found = await vectors.query("never.used.atall", unit(1), k=5)
        assert (found.matches, found.more) == ((), False)
        assert await vectors.present("never.used.atall", ["x/1/y/0"]) == set()
        await vectors.delete("never.used.atall", ["x/1/y/0"])
        await vectors.drop("never.used.atall")

    async def test_matches_come_by_descending_cosine(self, vectors: ports.Vectors) -> None:
        records = [record("same", unit(1)), record("near", unit(1, 1)), record("across", unit(0, 1)),
                   record("against", unit(-1))]  # fmt: skip
        await self.write(vectors, records)
        found = await vectors.query(NAMESPACE, unit(1), k=4)
        assert [match.document_id for match in found.matches] == ["same", "near", "across", "against"]
        np.testing.assert_allclose([match.score for match in found.matches], [1, 0.5**0.5, 0, -1], atol=1e-3)
        assert all(-1 <= match.score <= 1 for match in found.matches)

    async def test_a_match_names_document_seq_and_index(self, vectors: ports.Vectors) -> None:
        await self.write(vectors, [record("leave/größe 😀", unit(1), seq=2**52 + 1, index=3)])
        (match,) = (await vectors.query(NAMESPACE, unit(1), k=1)).matches
        assert (match.document_id, match.seq, match.index) == ("leave/größe 😀", 2**52 + 1, 3)

    async def test_k_bounds_the_matches_and_more_tells_of_the_rest(self, vectors: ports.Vectors) -> None:
        await self.write(vectors, random_records(20))
        few, all_of_them = await vectors.query(NAMESPACE, unit(1), k=5), await vectors.query(NAMESPACE, unit(1), k=50)
        assert (len(few.matches), few.more) == (5, True)
        assert len(all_of_them.matches) == 20
        assert few.matches == all_of_them.matches[:5]

    async def test_the_same_upsert_twice_leaves_one_vector(self, vectors: ports.Vectors) -> None:
        records = random_records(10)
        await self.write(vectors, records)
        await self.write(vectors, records)
        found = await vectors.query(NAMESPACE, unit(1), k=50)
        assert sorted(match.document_id for match in found.matches) == sorted(r.document_id for r in records)

    async def test_versions_of_a_document_lie_side_by_side(self, vectors: ports.Vectors) -> None:
        await self.write(vectors, [record("d", unit(1), seq=1), record("d", unit(1), seq=2)])
        found = await vectors.query(NAMESPACE, unit(1), k=5)
        assert sorted(match.seq for match in found.matches) == [1, 2]

    async def test_a_deleted_vector_is_not_found_again(self, vectors: ports.Vectors) -> None:
        records = random_records(10)
        await self.write(vectors, records)
        await vectors.delete(NAMESPACE, [records[3].id, records[4].id, "unknown/1/pipe/0"])
        await vectors.delete(NAMESPACE, [records[3].id])
        await self.until(lambda: self.finds(vectors, [*records[:3], *records[5:]]))
        assert await vectors.present(NAMESPACE, [r.id for r in records[:5]]) == {r.id for r in records[:3]}

    async def test_a_deleted_vector_can_be_written_again(self, vectors: ports.Vectors) -> None:
        records = random_records(4)
        await self.write(vectors, records)
        await vectors.delete(NAMESPACE, [records[0].id])
        await self.until(lambda: self.finds(vectors, records[1:]))
        await self.write(vectors, records[:1])
        await self.until(lambda: self.finds(vectors, records))

    async def test_present_tells_which_ids_a_query_finds(self, vectors: ports.Vectors) -> None:
        records = random_records(5)
        await self.write(vectors, records)
        assert await vectors.present(NAMESPACE, [records[1].id, "unknown/1/pipe/0"]) == {records[1].id}
        assert await vectors.present(NAMESPACE, []) == set()

    async def test_namespaces_do_not_mix(self, vectors: ports.Vectors) -> None:
        await self.write(vectors, [record("here", unit(1))])
        await vectors.upsert("dep.other.pipe", [record("there", unit(1))])
        assert [match.document_id for match in (await vectors.query(NAMESPACE, unit(1), k=5)).matches] == ["here"]
        await self.until(lambda: self.lists(vectors, NAMESPACE, "dep.other.pipe"))
        assert await vectors.namespaces("dep.c0ffee.") == [NAMESPACE]

    async def test_a_dropped_namespace_is_empty_and_may_come_again(self, vectors: ports.Vectors) -> None:
        await self.write(vectors, random_records(10))
        await vectors.upsert("dep.other.pipe", random_records(1))
        await vectors.drop(NAMESPACE)
        await self.until(lambda: self.finds(vectors, []))
        await self.until(lambda: self.lists(vectors, "dep.other.pipe"))
        await self.write(vectors, random_records(2, seed=1))
        await self.until(lambda: self.finds(vectors, random_records(2, seed=1)))

    async def test_filters_mean_what_the_domain_says(self, vectors: ports.Vectors) -> None:
        if not vectors.capabilities.filters:
            return
        records = [record("full", unit(1), team="hr", n=3, f=2.5, on=True, tags=("x", "ü")), record("bare", unit(1)),
                   record("other", unit(1), team="it", n=-1, f=0.0, on=False, tags=("y",)),
                   record("odd", unit(1), team="true", n=1, on=True)]  # fmt: skip
        await self.write(vectors, records)
        for asked in (
            {}, {"team": "hr"}, {"team": {"$ne": "hr"}}, {"n": {"$gt": 0}}, {"n": {"$gte": 3, "$lt": 10}}, {"f": 2.5},
            {"on": True}, {"n": 1}, {"tags": "ü"}, {"tags": {"$in": ["y", "z"]}}, {"tags": {"$nin": ["x"]}},
            {"team": {"$exists": False}}, {"$or": [{"team": "it"}, {"n": 1}]}, {"$not": {"team": "hr"}},
            {"$and": [{"team": {"$in": ["hr", "it"]}}, {"on": {"$ne": False}}]}, {"team": "nobody"},
        ):  # fmt: skip
            where = filters.parse(asked)
            found = await vectors.query(NAMESPACE, unit(1), k=10, where=where)
            expected = {each.document_id for each in records if filters.matches(where, each.metadata)}
            assert {match.document_id for match in found.matches} == expected, asked

    async def test_a_filter_does_not_cost_matches(self, vectors: ports.Vectors) -> None:
        if not vectors.capabilities.filters:
            return
        records = random_records(300)
        await self.write(vectors, records)
        everything = await vectors.query(NAMESPACE, unit(1), k=300)
        where = filters.parse({"team": "a"})
        for k in (1, 20, 150, 300):
            found = await vectors.query(NAMESPACE, unit(1), k=k, where=where)
            expected = [m for m in everything.matches if int(m.document_id.removeprefix("doc-")) % 2 == 0]
            assert [m.document_id for m in found.matches] == [m.document_id for m in expected[:k]]
            assert found.more or k >= 150

    async def test_a_query_has_seen_every_upsert_up_to_its_position(self, vectors: ports.Vectors) -> None:
        if not vectors.capabilities.read_barrier:
            return
        for number, each in enumerate(random_records(20)):
            written = await vectors.upsert(NAMESPACE, [each])
            assert written is not None
            await self.until(lambda: self.reaches(vectors, written, count=number + 1))  # noqa: B023 - awaited here

    async def test_positions_never_go_back(self, vectors: ports.Vectors) -> None:
        if not vectors.capabilities.read_barrier:
            return
        written = await vectors.upsert(NAMESPACE, random_records(2))
        assert written is not None
        await vectors.drop(NAMESPACE)
        gone = await vectors.query(NAMESPACE, unit(1), k=1)
        again = await vectors.upsert(NAMESPACE, random_records(1))
        assert again is not None
        assert gone.position is not None
        assert written <= gone.position
        assert written < again

    async def test_all_ids_are_listed_by_prefix(self, vectors: ports.Vectors) -> None:
        if not vectors.capabilities.list_ids:
            return
        records = [record(f"doc-{n // 40}", unit(1, n), index=n % 40) for n in range(80)]
        await self.write(vectors, records)
        assert await self.ids(vectors) == sorted(each.id for each in records)
        prefix = identity.vector_prefix("doc-1", 1, PIPE)
        assert await self.ids(vectors, prefix=prefix) == sorted(each.id for each in records[40:])
        assert await self.ids(vectors, prefix="nothing/") == []

    async def test_what_is_no_vector_is_refused_whole(self, vectors: ports.Vectors) -> None:
        good = random_records(2)
        await self.write(vectors, good)
        shorter = np.ones(DIMENSION - 1, np.float32)
        for bad in (record("bad", unit(1) * np.float32("nan")), record("bad", shorter)):
            reason = None
            try:
                await vectors.upsert(NAMESPACE, [record("fine", unit(1)), bad])
            except errors.PermanentError as error:
                reason = error.reason
            assert reason is Reason.STORE_REFUSED
        await self.until(lambda: self.finds(vectors, good))

    async def test_racing_writers_readers_and_deleters_leave_what_was_not_deleted(self, vectors: ports.Vectors) -> None:
        records = random_records(200)
        batches = [records[start : start + 10] for start in range(0, 200, 10)]

        async def write_then_delete_half(batch: Sequence[ports.Record]) -> None:
            await vectors.upsert(NAMESPACE, batch)
            await vectors.query(NAMESPACE, unit(1), k=20)
            await vectors.delete(NAMESPACE, [each.id for each in batch[::2]])
            await vectors.query(NAMESPACE, unit(1), k=20)

        await asyncio.gather(*(write_then_delete_half(batch) for batch in batches))
        await self.until(lambda: self.finds(vectors, [each for batch in batches for each in batch[1::2]]))

    async def write(self, vectors: ports.Vectors, records: Sequence[ports.Record]) -> None:
        """Upsert and wait until it shows."""
        await vectors.upsert(NAMESPACE, records)
        wanted = {each.id for each in records}

        async def shown() -> bool:
            return await vectors.present(NAMESPACE, sorted(wanted)) == wanted

        await self.until(shown)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Ask until it holds; at once for a store with a read barrier."""
        for _ in range(int(self.patience_seconds / PAUSE_SECONDS)):
            if await holds():
                return
            await asyncio.sleep(PAUSE_SECONDS)
        assert await holds()

    async def reaches(self, vectors: ports.Vectors, position: int, *, count: int) -> bool:
        """Whether a query has come as far as a position; one that says so finds all that was written up to there."""
        found = await vectors.query(NAMESPACE, unit(1), k=50)
        assert found.position is not None
        if found.position < position:
            return False
        assert len(found.matches) == count
        return True

    async def finds(self, vectors: ports.Vectors, records: Sequence[ports.Record]) -> bool:
        """Whether a query for everything finds exactly these."""
        found = await vectors.query(NAMESPACE, unit(1), k=1000)
        names = sorted((match.document_id, match.seq, match.index) for match in found.matches)
        return names == sorted((each.document_id, each.seq, each.index) for each in records)

    async def lists(self, vectors: ports.Vectors, *names: str) -> bool:
        """Whether these and no others are the namespaces."""
        return sorted(await vectors.namespaces("dep.")) == sorted(names)

    async def ids(self, vectors: ports.Vectors, *, prefix: str = "") -> list[str]:
        """All ids, sorted."""
        return sorted([each async for page in vectors.ids(NAMESPACE, prefix=prefix) for each in page])
