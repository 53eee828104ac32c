"""Vectors in pgvector's binary form: what is sent is what numpy holds, not 400 numbers written out and read again."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from psycopg import adapt, pq

from bloomweaver.adapters.engines.postgresql import engine as engines
from bloomweaver.ports import vectors


@dataclass(frozen=True, slots=True)
class Binary:
    """A value as its type's receive function reads it; the server knows the type from a cast beside it."""

    data: bytes


class _Dumper(adapt.Dumper):
    format = pq.Format.BINARY
    oid = 0

    def dump(self, obj: Binary) -> bytes:
        return obj.data


def understood(connection: engines.Connection) -> None:
    """Lets this connection take `Binary`."""
    connection.adapters.register_dumper(Binary, _Dumper)


def vector(value: vectors.Vector) -> Binary:
    """For `::vector`."""
    return Binary(struct.pack(">hh", len(value), 0) + np.ascontiguousarray(value, ">f4").tobytes())


def array(values: Sequence[vectors.Vector], *, element_oid: int) -> Binary:
    """For `::vector[]`; all of one dimension. element_oid: of the type `vector` in this database."""
    dimension = len(values[0])
    rows = np.zeros(len(values), [("bytes", ">i4"), ("dimension", ">i2"), ("unused", ">i2"), ("at", ">f4", dimension)])
    rows["bytes"], rows["dimension"], rows["at"] = 4 + 4 * dimension, dimension, np.stack(values)
    return Binary(struct.pack(">iiIii", 1, 0, element_oid, len(values), 1) + rows.tobytes())
