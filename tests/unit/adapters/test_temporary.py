"""New files under names that nobody has."""

import os
import stat
from pathlib import Path

import pytest

from dpbuild.adapters import temporary


def test_a_file_for_this_user_alone(tmp_path: Path) -> None:
    handle, path = temporary.create(tmp_path, ".a.", ".new")
    with os.fdopen(handle, "wb") as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"
    assert path.parent == tmp_path
    assert (path.name[:3], path.name[-4:]) == (".a.", ".new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_that_is_taken_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a link that leads nowhere."""
    drawn = iter([b"aaaa", b"bbbb", b"cccc"])
    monkeypatch.setattr("os.urandom", lambda size: next(drawn))
    (tmp_path / f"tmp{b'aaaa'.hex()}").write_bytes(b"theirs")
    (tmp_path / f"tmp{b'bbbb'.hex()}").symlink_to(tmp_path / "nowhere")
    handle, path = temporary.create(tmp_path)
    os.close(handle)
    assert path.name == f"tmp{b'cccc'.hex()}"
    assert (tmp_path / f"tmp{b'aaaa'.hex()}").read_bytes() == b"theirs"
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        temporary.create(tmp_path / "none")
