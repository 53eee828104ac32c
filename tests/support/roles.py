"""The roles that the docs tell to make on PostgreSQL, made by the statements of the docs as they stand there."""

import contextlib
import pathlib
import re
import secrets
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

import psycopg

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "backends" / "postgresql.md"


class Roles(NamedTuple):
    """owner: the URL that migrates. service: the URL that the services run as. Both have this password."""

    owner: str
    service: str
    password: str


@contextlib.contextmanager
def made(url: str) -> Iterator[Roles]:
    """The roles in an empty database, as its superuser makes them, until the context ends."""
    (statements,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    suffix, password = secrets.token_hex(4), secrets.token_urlsafe(12)
    owner, service = f"bw_owner_{suffix}", f"bw_service_{suffix}"
    statements = statements.replace("bloomweaver_owner", owner)
    statements = re.sub(r"(ROLE|TO) bloomweaver\b", rf"\1 {service}", statements)
    parts = urllib.parse.urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(statements.encode())
        for role in (owner, service):
            admin.execute(f"ALTER ROLE {role} PASSWORD '{password}'".encode())
        yield Roles(
            parts._replace(netloc=f"{owner}@{place}").geturl(),
            parts._replace(netloc=f"{service}@{place}").geturl(),
            password,
        )
        gone = f"DROP SCHEMA bloomweaver CASCADE; DROP OWNED BY {owner}, {service}; DROP ROLE {owner}, {service}"
        admin.execute(gone.encode())
