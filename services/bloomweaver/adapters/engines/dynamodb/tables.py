"""The table: what it is like, how it is made, and whether this release can work with it.

Making it is safe to run again and to race. A table of another shape, or of a newer release, is refused before anything
is read from it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from bloomweaver.adapters.engines.aws import addresses, clients, failures
from bloomweaver.adapters.engines.dynamodb import engine as engines
from bloomweaver.adapters.engines.dynamodb import items, keys, timing
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks

SHAPE: Final = "dynamodb://table?region=eu-central-1"
OPTIONS: Final = ("kms_key",)
"""What a URL may say beside the access. kms_key: the customer's key that a table is made with."""

SCHEMA: Final = 1
ANSWER_SECONDS = 3.0
"""An answer that is later than that is taken for lost, and asked for again within the call's seconds."""

MADE_WITHIN_SECONDS = 120.0
EXPIRES: Final = "expires"

_KINDS = {"pk": "S", "sk": "S"} | {
    name: kind for hashed, ranged in keys.INDEXES.values() for name, kind in ((hashed, "S"), (ranged, "N"))
}


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did. found: the version before; scripts: what was made."""

    component: str
    found: int
    version: int
    scripts: tuple[str, ...]


@contextlib.asynccontextmanager
async def open_engine(
    url: str,
    *,
    clock: clocks.Clock | None,
    system: clocks.Clock,
    nonces: clocks.Nonces,
    migrates: bool,
    patience: int = 1,
) -> AsyncIterator[engines.Engine]:
    """clock: None takes the service's time. migrates: make the table where it is missing, instead of refusing.

    patience: as of the engine.
    """
    told = clock or timing.ServiceClock(system)
    async with _connected(url, clock=told, nonces=nonces, patience=patience) as (engine, address):
        await ready(engine, address, migrates=migrates)
        yield engine


async def migrated(url: str, *, system: clocks.Clock, nonces: clocks.Nonces) -> Migrated:
    """Bring the table to this release; what was done."""
    async with _connected(url, clock=timing.ServiceClock(system), nonces=nonces) as (engine, address):
        return await ready(engine, address, migrates=True)


@contextlib.asynccontextmanager
async def _connected(
    url: str, *, clock: timing.ServiceClock | clocks.Clock, nonces: clocks.Nonces, patience: int = 1
) -> AsyncIterator[tuple[engines.Engine, addresses.Address]]:
    address = addresses.parse(url, shape=SHAPE, options=OPTIONS)
    if address.path:
        raise addresses.refused(url, f"write {SHAPE}")
    opening = clients.open_calls(
        "dynamodb",
        address.access,
        what=f"The DynamoDB table {address.host}",
        unavailable=Reason.LEDGER_UNAVAILABLE,
        read_seconds=ANSWER_SECONDS * patience,
        settings={"parameter_validation": False},  # a quarter of a call's time; what we send is typed and tested
    )
    async with opening as calls:
        yield engines.Engine(calls, address.host, clock=clock, nonces=nonces, patience=patience), address


async def ready(engine: engines.Engine, address: addresses.Address, *, migrates: bool) -> Migrated:
    """The table is there and of this release; made where `migrates`."""
    made = migrates and await migrate(engine, address)
    found = await _described(engine)
    if found is None:
        detail = f"{engine.calls.what} is not there. Run bloomweaver migrate, or correct the name or the region."
        raise errors.NotMigratedError(detail)
    _check(engine, found)
    stored = await engine.one(keys.SCHEMA)
    version = 0 if stored is None else items.integer(stored, "version")
    if version > SCHEMA:
        detail = f"{engine.calls.what} was made by a newer release. Run that release, or restore a backup."
        raise errors.ConfigurationError(Reason.SCHEMA_TOO_NEW, detail)
    if version < SCHEMA:
        detail = f"{engine.calls.what} has schema {version}, this release needs {SCHEMA}. Run bloomweaver migrate."
        raise errors.NotMigratedError(detail)
    return Migrated("ledger", 0 if made else version, SCHEMA, (engine.table,) if made else ())


async def migrate(engine: engines.Engine, address: addresses.Address) -> bool:
    """Make the table, if it is not there; whether this call made it."""
    found = await _described(engine)
    made = False
    if found is None:
        try:
            await engine.call("create_table", definition(engine.table, address), expected=("ResourceInUseException",))
            made = True
        except failures.Refused:
            made = False  # another process was first
        found = await _active(engine)
    _check(engine, found)
    await _expire(engine)
    condition = "attribute_not_exists(version) OR version < :version"
    try:
        await engine.update(
            keys.SCHEMA, "SET version = :version", {":version": items.number(SCHEMA)}, condition=condition
        )
    except engines.Conflict:
        return made  # it is of this release, or newer, which `ready` tells
    return made


def definition(table: str, address: addresses.Address) -> dict[str, Any]:
    """Paid by request, encrypted, with the sparse indexes. Point-in-time recovery is the operator's to switch on."""
    sealed: dict[str, Any] = {"Enabled": True, "SSEType": "KMS"}
    if "kms_key" in address.options:
        sealed["KMSMasterKeyId"] = address.options["kms_key"]
    made: dict[str, Any] = {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": k} for n, k in _KINDS.items()],
        "KeySchema": _schema("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {"IndexName": name, "KeySchema": _schema(hashed, ranged), "Projection": _projected(name)}
            for name, (hashed, ranged) in keys.INDEXES.items()
        ],
    }
    if "kms_key" in address.options:
        made["SSESpecification"] = sealed
    return made


def _schema(hashed: str, ranged: str) -> list[dict[str, str]]:
    return [{"AttributeName": hashed, "KeyType": "HASH"}, {"AttributeName": ranged, "KeyType": "RANGE"}]


def _projected(index: str) -> dict[str, Any]:
    """`due` alone is filtered by more than its keys."""
    if index != keys.DUE:
        return {"ProjectionType": "KEYS_ONLY"}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["hinted_at", "next_try"]}


async def _described(engine: engines.Engine) -> dict[str, Any] | None:
    request = {"TableName": engine.table}
    try:
        answer = await engine.call("describe_table", request, expected=("ResourceNotFoundException",))
    except failures.Refused:
        return None
    described: dict[str, Any] = answer["Table"]
    return described


async def _active(engine: engines.Engine) -> dict[str, Any]:
    try:
        async with asyncio.timeout(MADE_WITHIN_SECONDS):
            while True:
                found = await _described(engine)
                if found is not None and found["TableStatus"] == "ACTIVE":
                    return found
                await asyncio.sleep(0.5)
    except TimeoutError as error:
        detail = f"{engine.calls.what} is still being made after {MADE_WITHIN_SECONDS:.0f} s."
        raise errors.TransientError(Reason.LEDGER_UNAVAILABLE, detail) from error


def _check(engine: engines.Engine, found: dict[str, Any]) -> None:
    """Keys and indexes are ours."""
    there = {index["IndexName"]: _names(index["KeySchema"]) for index in found.get("GlobalSecondaryIndexes", ())}
    missing = [name for name, wanted in keys.INDEXES.items() if there.get(name) != wanted]
    if _names(found["KeySchema"]) != ("pk", "sk") or missing:
        lacks = f"the index {missing[0]}" if missing else "the keys pk and sk"
        detail = f"{engine.calls.what} is not one of ours: it lacks {lacks}. Name another table."
        raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)


def _names(schema: list[dict[str, str]]) -> tuple[str, ...]:
    ordered = sorted(schema, key=lambda part: part["KeyType"])  # HASH before RANGE
    return tuple(part["AttributeName"] for part in ordered)


async def _expire(engine: engines.Engine) -> None:
    """What is over its time goes by itself; also after a restore, which leaves this out."""
    if await _expires(engine):
        return
    wanted = {"Enabled": True, "AttributeName": EXPIRES}
    request = {"TableName": engine.table, "TimeToLiveSpecification": wanted}
    try:
        await engine.call("update_time_to_live", request, expected=("ValidationException",))
    except failures.Refused as refused:
        if not await _expires(engine):  # else another process was first
            told = refused.response.get("Error", {}).get("Message", refused.code)
            detail = f"{engine.calls.what}: its time to live cannot be switched on ({told}). Run it again in an hour."
            raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from refused


async def _expires(engine: engines.Engine) -> bool:
    found = await engine.call("describe_time_to_live", {"TableName": engine.table})
    return found["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLED", "ENABLING")
