"""The data folder: private, and one process at a time."""

from pathlib import Path

import pytest

from bloomweaver.allinone import folder
from bloomweaver.domain import errors, reasons


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    data = folder.DataFolder(tmp_path / "data")

    first = data.prepare(random=lambda size: b"a" * size)
    second = data.prepare(random=lambda size: b"b" * size)

    assert first == second == b"a" * folder.SECRET_BYTES
    assert data.secret.stat().st_mode & 0o777 == 0o600
    assert data.root.stat().st_mode & 0o777 == 0o700


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    data = folder.DataFolder(tmp_path)

    with (
        data.locked(purpose="bloomweaver dev"),
        pytest.raises(errors.ConfigurationError) as refused,
        data.locked(purpose="bloomweaver try"),
    ):
        pass

    assert refused.value.reason is reasons.Reason.DATABASE_LOCKED
    assert "bloomweaver dev (process " in refused.value.detail


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    data = folder.DataFolder(tmp_path)

    with data.locked(purpose="first"):
        pass

    with data.locked(purpose="second"):
        assert "second" in (tmp_path / "lock").read_text()


def test_a_folder_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(errors.ConfigurationError) as refused:
        folder.DataFolder(tmp_path / "file" / "below").prepare(random=lambda size: b"a" * size)

    assert "--data" in refused.value.detail
