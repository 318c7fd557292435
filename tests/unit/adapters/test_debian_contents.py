"""The list of libraries: from the archive once, from the store afterwards, never an error."""

import gzip
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories.debian import make_deb, with_parents

from dpbuild.adapters.debian_contents import ContentsIndex
from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.debian.indices import BadIndex, Package, gunzip
from dpbuild.errors import BaseImageError, HashMismatch

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
    text = b"usr/lib/x 1\n" * 400_000 + os.urandom(200_000)
    data = gzip.compress(text)
    assert b"".join(gunzip(data)) == text
    # Whatever stands behind the end is none of it.
    assert b"".join(gunzip(data + bytes(100_000))) == text
    for wrong in (data[:-100], data[:1000], b"no gzip at all", b""):
        with pytest.raises(BadIndex):
            b"".join(gunzip(wrong))


class Lagging(Archive):
    """A mirror whose Contents index is not the one that was signed; its packages are."""

    def contents(self, _codename: str, _architecture: str) -> Iterator[bytes]:
        self.asked += 1
        raise HashMismatch("main/Contents-amd64.gz has 12 bytes, expected 13")
        yield b""

    def select(self, _codename: str, _architecture: str, names: frozenset[str]) -> dict[str, Package]:
        return {
            name: Package(
                name=name,
                version="1",
                architecture="amd64",
                filename="x",
                sha256="",
                size=1,
                source=name,
                archive="trixie",
            )
            for name in ("libxcb1", "libcups2t64", "libempty1")
            if name in names
        }

    def package(self, package: Package) -> bytes:
        soname = {"libxcb1": "libxcb.so.1", "libcups2t64": "libcups.so.2"}.get(package.name, "other")
        return make_deb(package.name, "1", "amd64", with_parents({f"usr/lib/x86_64-linux-gnu/{soname}": b"x"}))


def test_a_mirror_that_lags_behind(index: Callable[[Archive | None], ContentsIndex]) -> None:
    """The package of the usual name is looked into; one that has not the library is not named."""
    names = frozenset({"libxcb.so.1", "libcups.so.2", "libempty.so.1", "libnone.so.1", "libmagic.so."})
    assert index(Lagging()).packages(names) == {"libxcb.so.1": "libxcb1", "libcups.so.2": "libcups2t64"}
