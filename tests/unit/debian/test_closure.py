"""What a package needs beyond what is there."""

import pytest

from dpbuild.debian.closure import ClosureError, close
from dpbuild.debian.package_index import PackageIndex

HASH = "b" * 64


def suite(text: str, security: str = "") -> PackageIndex:
    """An index from lines like ``a 1.0 Depends: b (>= 2) | c; Provides: x``."""
    return PackageIndex([("trixie", [stanzas(text)]), ("trixie-security", [stanzas(security)])], "amd64")


def stanzas(text: str) -> bytes:
    rows = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, version, *fields = line.split(" ", 2)
        architecture = "amd64"
        if "@" in name:
            name, architecture = name.split("@")
        own = fields[0].replace("; ", "\n") + "\n" if fields else ""
        rows.append(
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{own}"
            f"Filename: pool/{name}.deb\nSize: 1\nSHA256: {HASH}\n"
        )
    return "\n".join(rows).encode()


def names(index: PackageIndex, *wanted: str, have: dict[str, str] | None = None, **more: bool) -> list[str]:
    return [f"{row.name} {row.version}" for row in close(wanted, have or {}, index, **more)]


def test_a_closure_with_a_circle_and_pre_depends():
    index = suite("a 1 Depends: b, c\nb 1 Pre-Depends: d; Depends: a\nc 1\nd 2\ne 3")
    assert names(index, "a") == ["a 1", "b 1", "c 1", "d 2"]
    assert names(index, "c", "e (>= 2)") == ["c 1", "e 3"]


def test_what_is_there_stays_and_its_own_dependencies_are_not_asked_for():
    index = suite("a 1 Depends: libc6 (>= 2.30), python3.13\npython3.13 3.13.5 Depends: big\nbig 1\nlibc6 2.41")
    assert names(index, "a", have={"libc6": "2.36", "python3.13": "3.13.1"}) == ["a 1"]
    with pytest.raises(ClosureError, match=r"a needs libc6 \(>= 2.30\), and the base has libc6 2.28"):
        close(["a"], {"libc6": "2.28", "python3.13": "3"}, index)


def test_the_newest_version_that_goes_with_what_is_there():
    index = suite("dev 1-1 Depends: lib (= 1-1)\nlib 1-1", "dev 1-2 Depends: lib (= 1-2)\nlib 1-2")
    assert names(index, "dev") == ["dev 1-2", "lib 1-2"]
    assert names(index, "dev", have={"lib": "1-1"}) == ["dev 1-1"]
    with pytest.raises(ClosureError, match="the base has lib 1-0"):
        close(["dev"], {"lib": "1-0"}, index)
    assert names(index, "dev", have={"lib": "1-0"}, same_upstream=True) == ["dev 1-2"]
    with pytest.raises(ClosureError, match=r"the base has lib 0\.9-1"):
        close(["dev"], {"lib": "0.9-1"}, index, same_upstream=True)


def test_alternatives():
    index = suite("a 1 Depends: gone | b | c\nb 1 Depends: missing\nc 1\nd 1 Depends: b | c (>= 1)")
    assert names(index, "a") == ["a 1", "c 1"]
    assert names(index, "d", have={"c": "1"}) == ["d 1"]
    assert names(index, "nothing | c") == ["c 1"]


def test_provides():
    index = suite("a 1 Depends: virtual (>= 2)\nb 1 Provides: virtual\nc 1 Provides: x, virtual (= 2)\nd 1 Depends: x")
    assert names(index, "a") == ["a 1", "c 1"]
    assert names(index, "virtual") == ["b 1"]
    # Of what is there, the index says what it provides.
    assert names(index, "a", "d", have={"c": "1"}) == ["a 1", "d 1"]
    assert names(index, "c", "virtual") == ["c 1"]


def test_helpers_of_scripts_are_not_wanted():
    index = suite("a 1 Depends: debconf (>= 0.5) | debconf-2.0, ucf\ndebconf 1 Depends: perl\nperl 5\nucf 1")
    assert names(index, "a") == ["a 1"]


def test_other_machines_do_not_count():
    index = suite("a@arm64 9\na@all 1\nb 1 Depends: c [arm64], a:any\nc 1")
    assert names(index, "b") == ["a 1", "b 1"]


def test_what_must_not_be_together():
    index = suite("a 1 Depends: b\nb 1 Breaks: old (<< 2)\nc 1 Conflicts: c, mail; Provides: mail\nd 1 Conflicts: a")
    assert names(index, "a", "c", have={"old": "2"}) == ["a 1", "b 1", "c 1"]
    with pytest.raises(ClosureError, match="b 1 cannot be beside old 1"):
        close(["a"], {"old": "1"}, index)
    with pytest.raises(ClosureError, match="d 1 cannot be beside a 1"):
        close(["a", "d"], {}, index)


def test_messages_say_who_asks():
    index = suite(
        "a 1 Depends: b\nb 1 Depends: nix\nc 1 Depends: b (>= 2)\nx 1 Depends: a (= 1), y\ny 1 Depends: a (= 2)"
    )
    with pytest.raises(ClosureError, match="a -> b needs nix, which the suite does not have"):
        close(["a"], {}, index)
    with pytest.raises(ClosureError, match=r"c needs b \(>= 2\), and the suite has b 1"):
        close(["c"], {}, index)
    with pytest.raises(ClosureError, match="there is no nix in the suite"):
        close(["nix"], {}, index)
    with pytest.raises(ClosureError, match="not a relation"):
        close(["a b"], {}, index)


def test_a_field_that_goes_on_in_the_next_line():
    data = b"Package: a\nVersion: 1\nArchitecture: amd64\nProvides: x,\n y (= 3)\nFilename: p\nSize: 1\nSHA256: %s\n"
    index = PackageIndex([("trixie", [data % HASH.encode()])], "amd64")
    assert [(row.name, version) for row, version in index.providers("y")] == [("a", "3")]
    assert index.versions("none") == ()
