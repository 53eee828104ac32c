"""The services as processes on PostgreSQL, with the roles of the docs: keys end everywhere, secrets show nowhere."""

import asyncio
import datetime as dt
import json
import pathlib
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from bloomweaver.adapters import opening
from bloomweaver.adapters.engines.postgresql import migrations
from bloomweaver.domain import signatures
from tests.support import keys, roles, running

TEXT = "marzipan"
BODY = b'{"change_type":"upsert","document_id":"in","text":"signed"}'


class Deployment:
    """Processes that run as the services' role, and the secret of a key that may do everything."""

    def __init__(self, services: running.Services, found: roles.Roles, secret: str) -> None:
        self.services = services
        self.roles = found
        self.secret = secret

    def call(self, service: running.Service, method: str, path: str, **options: Any) -> httpx2.Response:
        """One request, with the key `secret` unless another is given."""
        secret = options.pop("secret", self.secret)
        headers = {**({"authorization": f"Bearer {secret}"} if secret else {}), **options.pop("headers", {})}
        url = f"http://127.0.0.1:{service.port}{path}"
        return httpx2.request(method, url, headers=headers, timeout=running.START_SECONDS, **options)

    def key(self, service: running.Service, **fields: Any) -> dict[str, Any]:
        """A key that is made there."""
        answer = self.call(service, "POST", "/v1/keys", json={"name": "n", "verbs": ["read"], **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def status(self, service: running.Service, secret: str) -> int:
        """What a key gets."""
        return self.call(service, "GET", "/v1/collections", secret=secret).status_code


@pytest.fixture
def deployment(postgresql_url: str, tmp_path: pathlib.Path) -> Iterator[Deployment]:
    with roles.made(postgresql_url) as found:
        secret = asyncio.run(_prepared(found))
        password_file = tmp_path / "password"
        password_file.write_text(found.password)
        extra = {"BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE": str(password_file)}
        with running.Services(tmp_path, store=found.service, extra=extra) as services:
            yield Deployment(services, found, secret)


async def _prepared(found: roles.Roles) -> str:
    """The owner's tables, and a first key."""
    clock, nonces = opening.system_clock(), opening.system_nonces()
    access = opening.Access(postgresql_password=lambda: found.password)
    addresses = opening.profile(found.owner)
    done = await opening.migrate(addresses, clock=clock, nonces=nonces, access=access, restored=False)
    assert len(done) == len(migrations.COMPONENTS)
    async with opening.open_store(addresses, clock=clock, nonces=nonces, access=access) as opened:
        return await keys.added(opened)


@pytest.mark.timeout(600)
def test_a_key_and_a_secret_end_in_every_process(deployment: Deployment, capsys: pytest.CaptureFixture[str]):
    first, second = (deployment.services.start("webhook") for _ in range(2))
    deployment.services.until_ready()

    key = deployment.key(first)
    assert deployment.status(second, key["secret"]) == 200, "a new key is known everywhere at once"
    assert deployment.call(first, "DELETE", f"/v1/keys/{key['id']}").status_code == 200
    revoked = time.monotonic()
    assert deployment.status(first, key["secret"]) == 401
    running.until(lambda: deployment.status(second, key["secret"]) == 401)
    measured = time.monotonic() - revoked
    with capsys.disabled():
        print(f"\na revoked key was refused by the other process after {measured:.2f} s")

    _let_a_key_expire(deployment, first, second)
    _rotate_a_source(deployment, first, second)


def _let_a_key_expire(deployment: Deployment, first: running.Service, second: running.Service) -> None:
    """Its end is far enough away to be seen before it: how far that is depends on the machine."""
    lifetime_seconds = 2
    while True:
        ends_at = time.time() + lifetime_seconds
        at = dt.datetime.fromtimestamp(ends_at, dt.UTC).isoformat()
        key = deployment.key(first, expires_at=at)
        before = {deployment.status(each, key["secret"]) for each in (first, second)}
        if time.time() < ends_at:
            break
        lifetime_seconds *= 4
    assert before == {200}
    running.until(lambda: time.time() >= ends_at)
    assert {deployment.status(each, key["secret"]) for each in (first, second)} == {401}


def _rotate_a_source(deployment: Deployment, first: running.Service, second: running.Service) -> None:
    """Both secrets hold from one call to the other, in the process that was not told."""

    def put(query: str = "") -> dict[str, Any]:
        made: dict[str, Any] = deployment.call(
            first, "PUT", f"/v1/sources/feed{query}", json={"collection": "default"}
        ).json()
        return made

    def sent(secret: str) -> int:
        signed = signatures.sign(
            BODY,
            secret=signatures.parse_secret(secret),
            webhook_id=secrets.token_hex(4),
            timestamp_seconds=int(time.time()),
        )
        headers = {"content-type": "application/json", **signed}
        return deployment.call(second, "POST", url, content=BODY, headers=headers, secret="").status_code

    made = put()
    url, old = made["ingest_url"], made["secret"]
    assert sent(old) == 202
    new = put("?rotate=begin")["secret"]
    assert new != old
    assert [sent(old), sent(new)] == [202, 202]
    put("?rotate=end")
    assert [sent(old), sent(new)] == [401, 202]


@pytest.mark.timeout(600)
def test_no_secret_and_no_text_is_in_any_log_metric_error_or_printed_setting(deployment: Deployment):
    names = ("webhook", "embedder", "writer", "search", "reconciler")
    processes = {name: deployment.services.start(name, "--log-level=debug") for name in names}
    deployment.services.until_ready()
    webhook, search = processes["webhook"], processes["search"]
    made = deployment.key(webhook, verbs=["read", "write"])
    source = deployment.call(webhook, "PUT", "/v1/sources/feed", json={"collection": "default"}).json()
    place = "/v1/collections/default/documents/a?wait=searchable&timeout=60"
    shown = deployment.call(webhook, "PUT", place, json={"text": TEXT, "title": TEXT, "metadata": {"note": TEXT}})
    assert shown.status_code == 200, shown.text
    found = deployment.call(search, "POST", "/v1/search", json={"query": TEXT}, secret=made["secret"])
    assert found.json()["hits"]

    told = {
        f"answer {number}": text for number, text in enumerate(_errors(deployment, webhook, search, made["secret"]))
    }
    told |= {f"metrics of {name}": str(process.get("/metrics")[1]) for name, process in processes.items()}
    told |= {f"readiness of {name}": json.dumps(process.get("/readyz")[1]) for name, process in processes.items()}
    told |= {f"settings of {name}": _settings(deployment, name) for name in names}
    for process in processes.values():
        assert process.end() == 0
    told |= {f"log of {name}": process.log.read_text() for name, process in processes.items()}
    told["command line"] = " ".join(" ".join(map(str, process.process.args)) for process in processes.values())  # type: ignore[arg-type]  # a list, as `start` gives it
    assert all(told.values())
    kept = {
        "password": deployment.roles.password,
        "sealing secret": running.SECRET,
        "first key": deployment.secret,
        "key": made["secret"],
        "source's secret": source["secret"].removeprefix("whsec_"),
        "text": TEXT,
    }
    found_in = [(what, where) for where, text in told.items() for what, secret in kept.items() if secret in text]
    assert found_in == []


def _errors(deployment: Deployment, webhook: running.Service, search: running.Service, secret: str) -> Iterator[str]:
    """What goes wrong with a secret or a text in hand."""
    for service, method, path, options in (
        (webhook, "GET", "/v1/keys", {"secret": secret}),
        (webhook, "GET", "/v1/keys", {"secret": f"{deployment.secret}x"}),
        (webhook, "GET", f"/v1/collections/{secret}", {}),
        (webhook, "GET", f"/nowhere/{secret}?key={secret}", {}),
        (webhook, "POST", "/v1/events", {"json": {"text": TEXT, "password": deployment.roles.password}}),
        (
            webhook,
            "POST",
            "/v1/events",
            {"content": f'{{"{TEXT}": {TEXT}', "headers": {"content-type": "application/json"}},
        ),
        (webhook, "POST", "/v1/ingest/nobody", {"content": TEXT, "headers": {"content-type": "application/json"}}),
        (search, "POST", "/v1/search", {"json": {"query": TEXT, "collections": ["nowhere"]}}),
        (search, "POST", "/v1/search", {"json": {"query": TEXT, "filter": {"note": {"$near": TEXT}}}}),
    ):
        answer = deployment.call(service, method, path, **options)
        assert answer.status_code >= 400, answer.text
        # The address that was asked for is repeated to whoever asked; nothing else is.
        yield answer.text.replace(path.partition("?")[0], "")


def _settings(deployment: Deployment, name: str) -> str:
    """Every setting as the process prints it, with the password in a variable, and for people in a file."""
    environment = deployment.services.environment(name)
    file = environment.pop("BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE")
    ways = [("json", {"BLOOMWEAVER_POSTGRESQL_PASSWORD": deployment.roles.password})]
    if name == "webhook":
        ways.append(("table", {"BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE": file}))
    text = ""
    for form, variables in ways:
        command = [sys.executable, "-m", f"bloomweaver.{name}", f"--print-config={form}"]
        done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=True)
        text += done.stdout + done.stderr
    return text
