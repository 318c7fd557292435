"""What becomes of uv's temporary files when they cannot be written."""

import errno
from pathlib import Path

import pytest
from factories.facts import make_target

from dpbuild.adapters.uv import UvResolver
from dpbuild.errors import LockError, StoreError
from dpbuild.ports.resolver import ResolveRequest


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [(errno.ENOSPC, StoreError, "the disk is full"), (errno.EROFS, LockError, "temporary files cannot be written")],
)
def test_no_room_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], words: str
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(number, "no", "/somewhere")

    monkeypatch.setattr("dpbuild.adapters.uv.tempfile.TemporaryDirectory", refuse)
    resolver = UvResolver(uv="uv", python="python", cache=str(tmp_path), environment={})
    with pytest.raises(error, match=words) as caught:
        resolver.resolve(ResolveRequest(directory=str(tmp_path), requirements=("demo",)), make_target())
    assert getattr(caught.value, "where", None) == "/somewhere"
    assert "TMPDIR" in str(getattr(caught.value, "hint", None))
