"""A stored build is whole or nothing."""

import numpy as np
import pytest

from bloomweaver.domain import builds, errors, reasons

BUILD = builds.Build(2, ("h1", "h2"), np.array([[1, 0], [0, 1]], dtype="<f4").tobytes())


def test_a_build_comes_back_as_it_was_stored() -> None:
    found = builds.decode(builds.encode(BUILD))

    assert found == BUILD
    assert np.frombuffer(found.row(1), dtype="<f4").tolist() == [0.0, 1.0]


@pytest.mark.parametrize("damage", [b"", b"BWB1", builds.encode(BUILD)[:-1], b"X" + builds.encode(BUILD)[1:]])
def test_a_damaged_build_is_never_read(damage: bytes) -> None:
    with pytest.raises(errors.RetryableError) as refused:
        builds.decode(damage)

    assert refused.value.reason is reasons.Reason.BLOB_MISSING


def test_a_build_holds_one_vector_per_chunk() -> None:
    with pytest.raises(ValueError, match="one vector per chunk"):
        builds.encode(builds.Build(2, ("h1",), b""))
