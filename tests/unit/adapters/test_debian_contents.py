"""The list of libraries: from the archive once, from the store afterwards, never an error."""

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dpbuild.adapters.debian_contents import ContentsIndex
from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import BaseImageError

NAMES = frozenset({"libxcb.so.1", "libnone.so.1"})


class Archive:
    """What ``DebianArchive`` gives, or its failure."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.asked = 0

    def contents(self, _codename: str, _architecture: str) -> Iterator[bytes]:
        self.asked += 1
        if self.problem:
            raise BaseImageError(self.problem)
        yield b"usr/lib/x86_64-linux-gnu/libxcb.so.1 libs/libxcb1\n"


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def index(tmp_path: Path, said: io.StringIO) -> Callable[[Archive | None], ContentsIndex]:
    store = DiskStore(tmp_path / "store")
    reporter = StreamReporter(said, lambda: 0.0, "plain")

    def make(archive: Archive | None) -> ContentsIndex:
        return ContentsIndex(lambda: archive, store, reporter, codename="trixie", architecture="amd64")  # type: ignore[arg-type, return-value]

    return make


def test_it_is_read_once(index: Callable[[Archive | None], ContentsIndex]) -> None:
    archive = Archive()
    assert index(archive).packages(NAMES) == {"libxcb.so.1": "libxcb1"}
    assert index(archive).packages(NAMES) == {"libxcb.so.1": "libxcb1"}
    assert archive.asked == 1
    assert index(None).packages(NAMES) == {"libxcb.so.1": "libxcb1"}


def test_offline_nothing_is_told(index: Callable[[Archive | None], ContentsIndex]) -> None:
    assert index(None).packages(NAMES) is None


def test_a_mirror_that_fails_is_a_note(index: Callable[[Archive | None], ContentsIndex], said: io.StringIO) -> None:
    assert index(Archive("the mirror answered with 503")).packages(NAMES) is None
    assert "the mirror answered with 503" in said.getvalue()


def test_gzip_is_what_the_archive_has() -> None:
    from dpbuild.adapters.debian import _gunzip

    text = b"usr/lib/x 1\n" * 400_000
    data = gzip.compress(text)
    assert b"".join(_gunzip(data, "there")) == text
    for wrong in (data[:-100], data[:1000], b"no gzip at all"):
        with pytest.raises(BaseImageError, match=r"index"):
            b"".join(_gunzip(wrong, "there"))
