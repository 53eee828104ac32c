"""TLS to the stores that can be had here: who is trusted works, who is not gets one clear line and no data."""

import contextlib
import pathlib
import time
import urllib.parse
from typing import Any

import pytest
import structlog

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import valkey
from bloomweaver.adapters.engines.aws import addresses, clients
from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.adapters.vectors import chroma, opensearch, pinecone
from bloomweaver.domain import errors, reasons
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import vectors as contract
from bloomweaver.testing.pinecone_wire import faults, service, serving
from tests.support import answering, aws, tls


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
    async with tls.before(port_of(valkey_server), authority.context()) as port:
        url = f"valkey://127.0.0.1:{port}?ca_file={authority.file}"
        cache = await valkey.open_cache(url, clock=clock.SystemClock(), call_seconds=60)
        await cache.put({"tls": b"1"}, seconds=60)
        assert await cache.get(["tls"]) == [b"1"]
        await cache.aclose()


async def test_a_cache_that_is_not_trusted_is_not_used_and_that_is_told_once(valkey_server, untrusted):
    context, file = untrusted
    async with tls.before(port_of(valkey_server), context) as port:
        url = f"valkey://127.0.0.1:{port}?ca_file={file}"
        cache = await valkey.open_cache(url, clock=clocks.ManualClock(), call_seconds=60)
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


@contextlib.asynccontextmanager
async def database(server, context, *, file):
    """The address of a PostgreSQL that speaks TLS."""
    parts = urllib.parse.urlsplit(server.url)
    async with tls.before(parts.port, context, asked=tls.POSTGRESQL_ASKS) as port:
        netloc = f"{parts.username}@127.0.0.1:{port}"
        options = f"sslmode=verify-full&sslrootcert={file}&passfile={passfile(server, port, file)}"
        yield parts._replace(netloc=netloc, query=options).geturl()


def passfile(server, port, file):
    made = file.parent / "passfile"
    given = pathlib.Path(server.env["PGPASSFILE"]).read_text()
    made.write_text(given.replace(f":{port_of(server)}:", f":{port}:"))
    made.chmod(0o600)
    return made


async def test_a_database_with_a_certificate_of_our_own_authority_is_used(postgresql_server, authority):
    async with (
        database(postgresql_server, authority.context(), file=authority.file) as url,
        engine.open_engine(url, nonces=clock.SystemNonces()) as opened,
    ):
        assert await opened.fetch("SELECT 1") == [(1,)]


async def test_a_database_that_is_not_trusted_gets_one_clear_line(postgresql_server, untrusted):
    context, file = untrusted
    async with database(postgresql_server, context, file=file) as url:
        with pytest.raises(errors.ConfigurationError, match=r"cannot be trusted.*ertificate") as caught:
            async with engine.open_engine(url, nonces=clock.SystemNonces()):
                pass
    assert caught.value.reason is reasons.Reason.INVALID_CONFIGURATION
    assert "\n" not in caught.value.detail


async def test_a_database_without_tls_is_not_used_where_it_was_asked_for(postgresql_server):
    with pytest.raises(errors.ConfigurationError, match=r"does not support SSL.*Switch TLS on"):
        async with engine.open_engine(f"{postgresql_server.url}?sslmode=require", nonces=clock.SystemNonces()):
            pass


AWS = {
    "s3": ("versitygw_server", "list_buckets"),
    "sqs": ("elasticmq_server", "list_queues"),
    "dynamodb": ("dynamodb_server", "list_tables"),
}


def calls(service, port, *, ca_file, credentials_file):
    access = addresses.Access(
        region="us-east-1", endpoint=f"https://127.0.0.1:{port}", credentials_file=credentials_file, ca_file=ca_file
    )
    unavailable = reasons.Reason.OVERLOADED
    return clients.open_calls(service, access, what=service.upper(), unavailable=unavailable)


@pytest.mark.parametrize("variable", [False, True], ids=["ca_file", "AWS_CA_BUNDLE"])
@pytest.mark.parametrize("service", AWS)
async def test_a_service_of_aws_with_a_certificate_of_our_own_authority_is_used(
    request, service, variable, authority, tmp_path, monkeypatch
):
    server, operation = AWS[service]
    served = request.getfixturevalue(server)
    credentials = served.env.get("AWS_SHARED_CREDENTIALS_FILE") or aws.credentials_file(tmp_path)
    if variable:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    async with tls.before(port_of(served), authority.context()) as port:
        ca_file = None if variable else str(authority.file)
        async with calls(service, port, ca_file=ca_file, credentials_file=credentials) as opened:
            await opened.call(operation, {})


@pytest.mark.parametrize("service", AWS)
async def test_a_service_of_aws_that_is_not_trusted_gets_one_clear_line_and_no_request(service, untrusted, tmp_path):
    context, file = untrusted
    operation = AWS[service][1]
    async with answering.answering() as served, tls.before(served.port, context) as port:
        credentials = aws.credentials_file(tmp_path)
        async with calls(service, port, ca_file=str(file), credentials_file=credentials) as opened:
            with pytest.raises(errors.ConfigurationError, match=r"ertificate.*not trusted.*ca_file") as caught:
                await opened.call(operation, {})
    assert "\n" not in caught.value.detail
    assert served.heads == []


async def test_a_file_of_authorities_that_holds_none_is_refused_by_name(tmp_path):
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("empty.pem", "absent.pem"):
        with pytest.raises(errors.ConfigurationError, match=name):
            async with calls("sqs", 1, ca_file=str(tmp_path / name), credentials_file=aws.credentials_file(tmp_path)):
                pass
