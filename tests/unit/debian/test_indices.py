"""Indices, control data and relations, as the archive writes them."""

from datetime import UTC, datetime, timedelta

import pytest

from dpbuild.debian import dependency
from dpbuild.debian.control import ControlError, fields, name_of, stanzas
from dpbuild.debian.indices import BadIndex, newest, packages, parse_release

RELEASE = b"""\
Origin: Debian
Suite: stable-security
Codename: trixie-security
Date: Sat, 21 Nov 2026 00:53:03 UTC
Valid-Until: Sat, 28 Nov 2026 00:53:03 UTC
Acquire-By-Hash: yes
Architectures: amd64 arm64
Components: updates/main updates/contrib
SHA256:
 %s  378100 main/binary-amd64/Packages.xz
""" % (b"a" * 64)


def stanza(name: str, version: str, architecture: str = "amd64", filename: str = "pool/main/x/x.deb") -> bytes:
    return (
        f"Package: {name}\nSource: src (1.0)\nVersion: {version}\nArchitecture: {architecture}\n"
        f"Filename: {filename}\nSize: 7\nSHA256: {'b' * 64}\n"
    ).encode()


def test_release():
    found = parse_release(RELEASE)
    assert found.codename == "trixie-security"
    assert found.components == {"main", "contrib"}
    assert found.by_hash
    row = found.file("main/binary-amd64/Packages.xz")
    assert row is not None
    assert (row.sha256, row.size) == ("a" * 64, 378100)
    assert found.file("main/binary-arm64/Packages.xz") is None


def test_time_is_checked_as_apt_does():
    found = parse_release(RELEASE)
    found.check_time(datetime(2026, 11, 28, 0, 53, 3, tzinfo=UTC))
    found.check_time(found.date - timedelta(seconds=9))
    with pytest.raises(BadIndex, match="valid until 2026-11-28T00:53:03Z"):
        found.check_time(datetime(2026, 11, 28, 0, 53, 4, tzinfo=UTC))
    with pytest.raises(BadIndex, match="is dated"):
        found.check_time(found.date - timedelta(seconds=11))
    parse_release(RELEASE.replace(b"Valid-Until: Sat, 28 Nov 2026 00:53:03 UTC\n", b"")).check_time(
        datetime(2040, 1, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    "damage",
    [
        (b"Codename: trixie-security\n", b""),
        (b"Date: Sat, 21 Nov", b"Date: never"),
        (b" 378100", b" many"),
        (b"a" * 64, b"A" * 64),
        (b"Suite:", b"Suite"),
        (b"Suite:", b"Origin:"),
    ],
)
def test_a_damaged_release_is_refused(damage: tuple[bytes, bytes]):
    with pytest.raises(BadIndex):
        parse_release(RELEASE.replace(*damage))


def test_stanzas_do_not_depend_on_the_chunks():
    data = b"\n\nPackage: a\nX: 1\n\n\nPackage: b\n\nPackage: c\n"
    expected = [b"Package: a\nX: 1", b"Package: b", b"Package: c"]
    for size in range(1, len(data) + 1):
        assert list(stanzas(data[i : i + size] for i in range(0, len(data), size))) == expected


def test_fields():
    assert fields("A: 1\n# note\nB: x\n y\n .\n") == {"a": "1", "b": "x\ny\n."}
    for bad in ("A: 1\nA: 2", " x\nA: 1", "no field"):
        with pytest.raises(ControlError):
            fields(bad)
    assert name_of(b"Version: 1\nPackage: libc6\n") == "libc6"
    assert name_of(b"Version: 1\nX-Package: libc6\n") == ""


def test_the_newest_that_fits_wins_and_the_first_of_equals():
    text = b"\n".join([stanza("a", "1.0-1"), stanza("a", "1.0-1", "arm64"), stanza("b", "9"), stanza("c", "1", "all")])
    more = b"\n".join([stanza("a", "1.0-1+deb13u1"), stanza("a", "2.0", "arm64"), stanza("c", "1", "all")])
    names = frozenset("ac")
    rows = packages([text], names, "trixie") + packages([more], names, "trixie-security")
    assert {row.name for row in rows} == {"a", "c"}
    best = newest(rows, "amd64")
    assert (best["a"].version, best["a"].archive, best["a"].source) == ("1.0-1+deb13u1", "trixie-security", "src")
    assert best["c"].archive == "trixie"


@pytest.mark.parametrize("path", ["../x.deb", "/etc/passwd", "pool/../../x", "pool/a b.deb", "pool//x", "http://x/y"])
def test_a_file_name_that_leaves_the_pool_is_refused(path: str):
    with pytest.raises(BadIndex, match="file name"):
        packages([stanza("a", "1", filename=path)], frozenset("a"), "trixie")


def test_relations():
    found = dependency.parse(
        "libc6 (>= 2.38), python3:any (<< 3.14) | python3.13, x [amd64], y [!amd64] | z, q [!arm64]", "amd64"
    )
    assert [[row.name for row in group] for group in found] == [
        ["libc6"],
        ["python3", "python3.13"],
        ["x"],
        ["z"],
        ["q"],
    ]
    assert found[0][0].allows("2.38-1")
    assert not found[0][0].allows("2.38~1")
    assert not found[1][0].allows("3.14")
    assert found[1][0].qualifier == "any"
    assert dependency.parse("a (= 1:2-3)", "amd64")[0][0].allows("1:2-3")
    with pytest.raises(ValueError, match="not a relation"):
        dependency.parse("a (>> )", "amd64")
