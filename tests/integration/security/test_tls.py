"""TLS to the stores that can be had here: who is trusted works, who is not gets one clear line and no data."""

import time
import urllib.parse
from typing import Any

import pytest
import structlog

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import valkey
from bloomweaver.adapters.vectors import chroma, opensearch, pinecone
from bloomweaver.domain import errors
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import vectors as contract
from bloomweaver.testing.pinecone_wire import faults, service, serving
from tests.support import tls


@pytest.fixture
def authority(tmp_path):
    return tls.Authority(tmp_path)


@pytest.fixture(params=["unknown", "other-address", "expired"])
def untrusted(request, authority, tmp_path):
    """The context of a server that nobody should trust, and the file of authorities to trust."""
    if request.param == "unknown":
        other = tmp_path / "other"
        other.mkdir()
        return tls.Authority(other).context(), authority.file
    if request.param == "other-address":
        return authority.context(address="127.0.0.9"), authority.file
    return authority.context(days=-1), authority.file


def port_of(server):
    return urllib.parse.urlsplit(server.url).port


async def test_a_cache_with_a_certificate_of_our_own_authority_is_used(valkey_server, authority):
    passing = clocks.ManualClock()
    async with tls.before(port_of(valkey_server), authority.context()) as port:
        cache = await valkey.open_cache(f"valkey://127.0.0.1:{port}?ca_file={authority.file}", clock=passing)
        for _ in range(50):  # a busy machine may need more than a moment to shake hands
            await cache.put({"tls": b"1"}, seconds=60)
            if await cache.get(["tls"]) == [b"1"]:
                break
            passing.advance(valkey.LONGEST_PAUSE_SECONDS)
        else:
            raise AssertionError("it was never reached")
        await cache.aclose()


async def test_a_cache_that_is_not_trusted_is_not_used_and_that_is_told_once(valkey_server, untrusted):
    context, file = untrusted
    async with tls.before(port_of(valkey_server), context) as port:
        cache = await valkey.open_cache(f"valkey://127.0.0.1:{port}?ca_file={file}", clock=clock.SystemClock())
        with structlog.testing.capture_logs() as logs:
            await cache.put({"tls": b"1"}, seconds=60)
            assert await cache.get(["tls"]) == [None]
        await cache.aclose()
    (line,) = logs
    assert line["event"] == "cache_unavailable"


@pytest.mark.parametrize("name", ["opensearch", "chroma", "pinecone"])
async def test_a_vector_store_that_is_not_trusted_gets_one_clear_line(name, tmp_path, untrusted):
    context, file = untrusted
    (tmp_path / "key").write_text("key")
    wire = service.Service(dimension=8, clock=time.monotonic, faults=faults.Faults(), name="index")
    async with serving.serve(wire) as host, tls.before(int(host.rpartition(":")[2].rstrip("/")), context) as port:
        if name == "opensearch":
            store: Any = await opensearch.open_vectors(f"opensearch://127.0.0.1:{port}/t?ca_file={file}")
        elif name == "chroma":
            store = await chroma.open_vectors(f"chroma://127.0.0.1:{port}")
        else:
            url = f"pinecone://index?host=https://127.0.0.1:{port}&key_file={tmp_path}/key"
            store = await pinecone.open_vectors(url)
        try:
            with pytest.raises(errors.BloomWeaverError, match="ertificate"):
                await store.query("a.b.c", contract.unit(1), k=1)
        finally:
            await store.aclose()
    assert wire.requests["queryVectors"] == 0
