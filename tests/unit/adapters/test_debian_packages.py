"""Packages on top of a base, from a small archive on loopback."""

from collections.abc import Iterator

import pytest
from factories.debian import NOW, Archive, Served, certificate, contents

from dpbuild.adapters.debian import DebianArchive, HttpDownload
from dpbuild.adapters.debian_packages import SuitePackages
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.registry.transport import Transport
from dpbuild.debian.sources import Mirrors
from dpbuild.debian.suites import DEBIAN_13
from dpbuild.errors import BaseImageError, HashMismatch, UnsupportedRequirement


@pytest.fixture
def archive() -> Archive:
    made = Archive()
    for version in ("1.0-1", "1.1-1"):
        made.add("libfoo1", version, "amd64", contents("libfoo1", "amd64"))
    made.add("libbar2", "2.0", "amd64", contents("libbar2", "amd64"))
    made.rows["trixie", "amd64"]["libfoo1 1.1-1"] += "Depends: libbar2 (>= 2), libc6 (>= 2.40)\n"
    made.publish()
    return made


@pytest.fixture
def packages(archive: Archive) -> Iterator[SuitePackages]:
    with Served(archive) as server:
        transport = Transport(
            proxies=Proxies.configured({}), ca_bundle=None, timeout=10, connections=2, user_agent="test"
        )
        mirrors = Mirrors(main=f"{server.url}/main", security=f"{server.url}/security")
        debian = DebianArchive(mirrors, HttpDownload(transport), now=NOW, keys=(certificate(),))
        yield SuitePackages(debian, DEBIAN_13, "amd64")


def test_what_is_closed_over_is_fetched_without_reading_the_index_again(packages: SuitePackages, archive: Archive):
    pins, date = packages.close(("libfoo1",), {"libc6": "2.41-12"}, frozenset())
    assert [pin[:2] for pin in pins] == [("libbar2", "2.0"), ("libfoo1", "1.1-1")]
    assert date == "2026-03-01T11:00:00Z"
    before = len(archive.asked)
    seen: list[int] = []
    data = packages.fetch(pins, seen.append)
    assert all(row.startswith(b"!<arch>") for row in data)
    assert sum(seen) == sum(map(len, data))
    assert [path.rpartition(".")[2] for path in archive.asked[before:]] == ["deb", "deb"]


def test_a_locked_version_that_no_index_names(packages: SuitePackages, archive: Archive):
    import hashlib

    (path,) = [path for path in archive.files if path.endswith("libfoo1_1.0-1_amd64.deb")]
    pin = ("libfoo1", "1.0-1", hashlib.sha256(archive.files[path]).hexdigest())
    del archive.rows["trixie", "amd64"]["libfoo1 1.0-1"]
    archive.publish()
    assert packages.fetch([pin], lambda size: None) == (archive.files[path],)
    data = archive.files.pop(path)
    with pytest.raises(BaseImageError, match=r"does not have the Debian package libfoo1 1\.0-1 any more") as found:
        packages.fetch([pin], lambda size: None)
    assert found.value.hint is not None
    archive.files[path] = data + b"x"
    with pytest.raises(HashMismatch):
        packages.fetch([pin], lambda size: None)


def test_without_leaves_a_dependency_out(packages: SuitePackages):
    pins, _ = packages.close(("libfoo1",), {"libc6": "2.41-12"}, frozenset({"libbar2"}))
    assert [pin[0] for pin in pins] == ["libfoo1"]


def test_what_cannot_be_had_is_named_with_who_wants_it(packages: SuitePackages):
    # The older version asks for nothing of libc.
    pins, _ = packages.close(("libfoo1",), {"libc6": "2.36"}, frozenset())
    assert [pin[:2] for pin in pins] == [("libfoo1", "1.0-1")]
    with pytest.raises(UnsupportedRequirement, match="there is no libnone in the suite") as found:
        packages.close(("libbar2", "libnone"), {}, frozenset())
    assert found.value.where == "libnone"


def test_offline():
    packages = SuitePackages(None, DEBIAN_13, "amd64")
    with pytest.raises(BaseImageError, match="the packages of trixie are not known, and dpbuild is offline"):
        packages.close(("a",), {}, frozenset())
    with pytest.raises(BaseImageError, match=r"the package a 1 is not in the store, and dpbuild is offline"):
        packages.fetch([("a", "1", "0" * 64)], lambda size: None)
    assert packages.fetch([], lambda size: None) == ()
