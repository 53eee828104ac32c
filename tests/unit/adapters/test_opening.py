import pathlib
import subprocess
import sys
from typing import Any

import pytest

from bloomweaver.adapters import clock, opening
from bloomweaver.adapters.blobs import files
from bloomweaver.adapters.blobs import memory as memory_blobs
from bloomweaver.adapters.caches import memory as memory_cache
from bloomweaver.adapters.queues import memory as memory_queues
from bloomweaver.adapters.queues import sqlite as sqlite_queues
from bloomweaver.adapters.vectors import memory as memory_vectors
from bloomweaver.adapters.vectors import sqlite as sqlite_vectors
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.testing.contracts import queues as queues_contract
from bloomweaver.testing.contracts import vectors as vectors_contract

TIME_AND_CHANCE: dict[str, Any] = {"clock": clock.SystemClock(), "nonces": clock.SystemNonces()}


def test_one_address_stands_for_all_ports(tmp_path):
    url = f"sqlite:///{tmp_path}/data/ledger.db"
    assert opening.profile(url) == opening.Addresses(url, url, f"file://{tmp_path}/data/blobs", url)
    assert opening.profile("mem://") == opening.Addresses("mem://", "mem://", "mem://", "mem://")


def test_a_relative_file_has_its_blobs_beside_it():
    assert opening.profile("sqlite:///some/ledger.db").blobs == (pathlib.Path.cwd() / "some/blobs").as_uri()


def test_a_port_of_its_own_wins_over_the_profile():
    mixed = opening.profile("mem://", queues="sqlite:///q.db", blobs="file:///b", vectors="sqlite:///v.db")
    assert mixed == opening.Addresses("mem://", "sqlite:///q.db", "file:///b", "sqlite:///v.db")


async def test_a_memory_store_has_every_port():
    async with opening.open_store(opening.profile("mem://"), **TIME_AND_CHANCE) as store:
        assert isinstance(store.queues, memory_queues.MemoryQueues)
        assert isinstance(store.blobs, memory_blobs.MemoryBlobs)
        assert isinstance(store.vectors, memory_vectors.MemoryVectors)
        assert await store.database.registry.tenants() == []


async def test_a_sqlite_store_makes_its_folder_and_outlives_its_process(tmp_path):
    addresses = opening.profile(f"sqlite:///{tmp_path}/näw folder/ledger.db")
    async with opening.open_store(addresses, **TIME_AND_CHANCE) as store:
        assert isinstance(store.queues, sqlite_queues.SqliteQueues)
        assert isinstance(store.blobs, files.FileBlobs)
        assert isinstance(store.vectors, sqlite_vectors.SqliteVectors)
        deployment = await store.database.registry.deployment()
        await store.queues.send("create", queues_contract.hints(1))
        await store.blobs.put("dep/c/raw/d/n", b"text")
        await store.vectors.upsert("dep.c.pipe", vectors_contract.random_records(2))
    async with opening.open_store(addresses, **TIME_AND_CHANCE) as store:
        assert await store.database.registry.deployment() == deployment
        assert (await store.queues.depths())["create"].visible == 1
        assert await store.blobs.get("dep/c/raw/d/n") == b"text"
        assert len((await store.vectors.query("dep.c.pipe", vectors_contract.unit(1), k=5)).matches) == 2


async def test_every_port_can_be_opened_alone(tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    async with opening.open_database(url, **TIME_AND_CHANCE) as database:
        assert await database.registry.tenants() == []
    async with opening.open_queues(url, **TIME_AND_CHANCE) as queues:
        assert await queues.depths() == {}
    async with opening.open_vectors(url, **TIME_AND_CHANCE) as vectors:
        assert await vectors.namespaces("") == []
    async with opening.open_blobs(f"file://{tmp_path}/b", **TIME_AND_CHANCE) as blobs:
        assert [blob async for blob in blobs.list("")] == []


async def test_a_cache_stands_before_the_vectors():
    access = opening.Access(cache="mem://")
    async with opening.open_store(opening.profile("mem://"), access=access, **TIME_AND_CHANCE) as store:
        ports = await opening.all_ports(store, **TIME_AND_CHANCE)
        assert isinstance(ports.cache, memory_cache.MemoryCache)
        await ports.vectors.upsert("dep.c.pipe", vectors_contract.random_records(2))
        await ports.vectors.query("dep.c.pipe", vectors_contract.unit(1), k=5)
        assert len(ports.cache._held) == 2


@pytest.mark.parametrize("url", ["memcached://x", "localhost:6379", ""])
async def test_a_cache_of_another_kind_names_the_known_ones(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        async with opening.open_store(opening.profile("mem://"), access=opening.Access(cache=url), **TIME_AND_CHANCE):
            pass
    assert "valkey://" in caught.value.detail


@pytest.mark.parametrize("url", ["pinecone://index", "opensearch://host/prefix", "chroma://host", "chroma:///folder"])
async def test_a_server_of_vectors_is_opened_without_asking_it_anything(url):
    async with opening.open_vectors(url, **TIME_AND_CHANCE) as vectors:
        assert vectors.capabilities.list_ids


async def test_a_model_is_opened_by_its_address(tmp_path):
    embedder = await opening.open_embedder("mem://", models_dir=tmp_path, threads=1)
    assert embedder.spec.dimension == 8
    await embedder.aclose()


@pytest.mark.parametrize("url", ["nowhere://x", "ledger.db", "", "sqlite:/ledger.db", "postgresql", "SQLITE:///x"])
@pytest.mark.parametrize("port", ["database", "queues", "vectors"])
async def test_an_unknown_scheme_names_the_known_ones(url, port):
    with pytest.raises(errors.ConfigurationError) as caught:
        async with getattr(opening, f"open_{port}")(url, **TIME_AND_CHANCE):
            pass
    assert caught.value.reason is Reason.INVALID_CONFIGURATION
    assert "mem://, sqlite://" in caught.value.detail
    assert port in caught.value.detail


@pytest.mark.parametrize("url", ["nowhere://x", "file://relative/path", "file:///", "file://", "sqlite:///x.db"])
async def test_blobs_want_an_absolute_folder(url):
    with pytest.raises(errors.ConfigurationError) as caught:
        async with opening.open_blobs(url, **TIME_AND_CHANCE):
            pass
    assert repr(url) in caught.value.detail


async def test_a_folder_that_cannot_be_made_is_a_setting_to_correct(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(errors.ConfigurationError) as caught:
        async with opening.open_database(f"sqlite:///{tmp_path}/file/ledger.db", **TIME_AND_CHANCE):
            pass
    assert str(tmp_path / "file") in caught.value.detail


def test_the_table_alone_imports_no_adapter():
    code = (
        "import sys; from bloomweaver.adapters import opening; "
        "print([name for name in sys.modules if name.startswith('bloomweaver.adapters.')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    tables = ("opening_models", "places", "opening_servers", "opening")
    assert ran.stdout.strip() == str([f"bloomweaver.adapters.{name}" for name in tables])
