"""Databases of one PostgreSQL server, lent to tests: each test finds its own as if nobody had used it before.

Making a database costs 100 ms, emptying one 5: so they are made at first need and lent again. What a test needs is
one of two kinds: `empty` (pgvector is there, nothing of ours), or `migrated` by a function that the caller gives, with
the rows that migrating left and no others. Invariant: a database is lent to one test at a time, and whoever was still
connected from an earlier one is thrown out before.
"""

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator

import psycopg
from psycopg import sql

Migrate = Callable[[str], None]

_LENDER = "lender of databases"
_THROW_OUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    f" WHERE datname = %s AND application_name <> '{_LENDER}' AND backend_type = 'client backend'"
)
_SCHEMAS = (
    "SELECT nspname FROM pg_namespace"
    " WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public', 'pristine')"
)
# What migrating left is kept in `pristine`, one table for each of `schema`; `emptied` restores it. Tables that a test
# made are dropped, all rows go, and those of the migration come back.
_KEEP = """
CREATE SCHEMA pristine;
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace
      AND relkind IN ('r', 'p') AND NOT relispartition LOOP
    EXECUTE format('CREATE TABLE pristine.%I AS SELECT * FROM {schema}.%I', name, name);
  END LOOP;
END $$;
CREATE TABLE public.pristine_names AS SELECT relname, relkind FROM pg_class
  WHERE relnamespace = '{schema}'::regnamespace;
CREATE FUNCTION public.emptied() RETURNS void LANGUAGE plpgsql AS $f$ DECLARE one record; BEGIN
  SET LOCAL session_replication_role = replica;
  FOR one IN SELECT relname, relkind FROM pg_class WHERE relnamespace = '{schema}'::regnamespace
      AND relkind IN ('r', 'p') AND relname NOT IN (SELECT relname FROM public.pristine_names) LOOP
    EXECUTE format('DROP TABLE IF EXISTS {schema}.%I CASCADE', one.relname);
  END LOOP;
  FOR one IN SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('i', 'I')
      AND relname NOT IN (SELECT relname FROM public.pristine_names) LOOP
    EXECUTE format('DROP INDEX IF EXISTS {schema}.%I', one.relname);
  END LOOP;
  FOR one IN SELECT relname FROM pg_class WHERE relnamespace = 'pristine'::regnamespace AND relkind = 'r' LOOP
    EXECUTE format('DELETE FROM {schema}.%I', one.relname);
    EXECUTE format('INSERT INTO {schema}.%I OVERRIDING SYSTEM VALUE SELECT * FROM pristine.%I',
      one.relname, one.relname);
  END LOOP;
END $f$;
"""


class Databases:
    """Opens with a server's URL; its user must be allowed to create databases and the extension `vector`."""

    def __init__(self, url: str, *, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._admin = psycopg.connect(url, autocommit=True)
        self._made: list[str] = []
        self._inside: dict[str, psycopg.Connection[tuple[object, ...]]] = {}
        self._free: dict[str, list[str]] = {}

    def close(self) -> None:
        """Drops what was made."""
        for connection in self._inside.values():
            connection.close()
        for name in self._made:
            self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._admin.close()

    @contextlib.contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a database that holds the extension `vector` and nothing else."""
        with self._lent("empty") as name:
            connection = self._within(name)
            for (schema,) in connection.execute(_SCHEMAS).fetchall():
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(str(schema))))
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            yield self._url_of(name)

    @contextlib.contextmanager
    def migrated(self, migrate: Migrate, *, schema: str) -> Iterator[str]:
        """The URL of a database that `migrate(url)` has just made its tables in, in `schema`."""
        with self._lent(f"migrated_{schema}") as name:
            url = self._url_of(name)
            connection = self._within(name)
            if connection.execute("SELECT to_regproc('public.emptied')").fetchone() == (None,):
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                migrate(url)
                connection.execute(_KEEP.replace("{schema}", schema))
            else:
                connection.execute("SELECT public.emptied()")
            yield url

    @contextlib.contextmanager
    def _lent(self, kind: str) -> Iterator[str]:
        free = self._free.setdefault(kind, [])
        if not _answers(self._admin):
            self._admin = psycopg.connect(self._url, autocommit=True)
        name = free.pop() if free else self._make(kind)
        self._admin.execute(_THROW_OUT, (name,))
        try:
            yield name
        finally:
            free.append(name)

    def _within(self, name: str) -> "psycopg.Connection[tuple[object, ...]]":
        """The lender's own connection to a database, kept because connecting takes longer than emptying."""
        known = self._inside.get(name)
        if known is None or not _answers(known):  # a test may throw everybody out, or end the server
            self._inside[name] = psycopg.connect(self._url_of(name), autocommit=True, application_name=_LENDER)
        return self._inside[name]

    def _make(self, kind: str) -> str:
        name = f"{self._prefix}_{kind}_{len(self._made)}"
        self._made.append(name)
        self._admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return name

    def _url_of(self, name: str) -> str:
        return urllib.parse.urlsplit(self._url)._replace(path=f"/{name}").geturl()


def _answers(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
