"""Package databases in all their forms, and what is wrong with them."""

import contextlib
import lzma
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.image import File, Files
from factories.python_image import glibc, image_facts, python
from hypothesis import given
from hypothesis import strategies as st

from dpbuild.errors import BaseImageError
from dpbuild.model.facts import Facts, PackageDatabase, SystemPackage, VersionClaim
from dpbuild.stages import facts_rpm, facts_rpm_bdb
from dpbuild.stages.facts_rpm import RpmError

RPMDB = "var/lib/rpm/rpmdb.sqlite"


def facts(files: Files, **image: object) -> Facts:
    return image_facts(glibc(), python("3.12.9"), files, **image)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real(root: Path) -> bytes:
    """A database that rpm 4.18 made of two packages, which it built (``rpm -i --justdb``)."""
    return lzma.decompress((root / "tests/data/rpmdb.sqlite.xz").read_bytes())


def header(*rows: tuple[int, int, bytes], cut: int = 0) -> bytes:
    """A header blob as rpm's lib/header.c writes it."""
    index, store = b"", b""
    for tag, kind, data in rows:
        index += struct.pack(">IIII", tag, kind, len(store), 1)
        store += data
    return struct.pack(">II", len(rows), len(store) + cut) + index + store


def text(tag: int, value: str) -> tuple[int, int, bytes]:
    return tag, 6, value.encode() + b"\0"


def made(*blobs: object, sql: str = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)") -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute(sql)
    for blob in blobs:
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
    connection.commit()
    data = connection.serialize()
    connection.close()
    return data


def test_a_database_of_the_real_rpm(real: bytes) -> None:
    found = facts({RPMDB: File(real)})

    assert found.packages == (
        SystemPackage(
            name="python3.13",
            version="3.13.7-1.hum1",
            architecture="x86_64",
            source="python3.13-3.13.7-1.hum1.src.rpm",
        ),
        SystemPackage(
            name="tzdata", version="2:2025b-1.hum1", architecture="noarch", source="tzdata-2025b-1.hum1.src.rpm"
        ),
    )
    assert found.package_databases == (PackageDatabase(kind="rpm sqlite", path=f"/{RPMDB}"),)


def test_keys_are_no_packages() -> None:
    key = header(text(1000, "gpg-pubkey"), text(1001, "a"), text(1002, "b"))
    package = header(text(1000, "a"), text(1001, "1"), text(1002, "2"), (1003, 4, struct.pack(">I", 0)), text(99, "x"))

    assert list(facts_rpm.database(made(key, package))) == [SystemPackage(name="a", version="1-2")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda real: b"", "no SQLite database"),
        (lambda real: b"\0" * 5000, "no SQLite database"),
        (lambda real: real[:6000], "."),
        (lambda real: real[:100] + b"\xff" * 4000 + real[4100:], "."),
        (lambda real: made(sql="CREATE TABLE Other (x)"), "no table of packages"),
        (lambda real: made(sql="CREATE VIEW Packages AS SELECT 1 AS blob"), "no table of packages"),
        (lambda real: made(None), "no header"),
        (lambda real: made("text"), "no header"),
        (lambda real: made(b"\0" * 7), "no header"),
        (lambda real: made(b"\xff" * 64), "cut off"),
        (lambda real: made(header(text(1000, "a"), cut=1)), "cut off"),
        (lambda real: made(struct.pack(">II", 1, 0) + struct.pack(">IIII", 1000, 6, 9, 1)), "outside its header"),
        (lambda real: made(struct.pack(">II", 1, 0) + struct.pack(">IIII", 1000, 9, 0, 1)), "outside its header"),
    ],
)
def test_a_database_that_is_none(data: Callable[[bytes], bytes], said: str, real: bytes) -> None:
    with pytest.raises(RpmError, match=said):
        list(facts_rpm.database(data(real)))
    with pytest.raises(BaseImageError, match="the list of packages cannot be read"):
        facts({RPMDB: File(data(real))})


def test_a_database_that_computes_without_end() -> None:
    """Reading a generated column runs whatever the image's author wrote there."""
    endless = (
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB, "
        "more AS (hex(zeroblob(1000000)) || hex(zeroblob(1000000))))"
    )
    assert list(facts_rpm.database(made(sql=endless))) == []
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, n, blob AS (hex(zeroblob(20000000)) || n));"
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 9) "
        "INSERT INTO Packages (n) SELECT x FROM c;"
    )
    data = connection.serialize()
    connection.close()
    with pytest.raises(RpmError, match="no header"):
        list(facts_rpm.database(data))


@pytest.fixture
def logged(real: bytes, tmp_path: Path) -> tuple[bytes, bytes]:
    """rpm's database after another transaction that is still in the log, as SQLite writes it."""
    path = tmp_path / "rpmdb.sqlite"
    path.write_bytes(real)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    with connection:
        connection.execute("DELETE FROM Packages WHERE hnum = 2")
    with connection:
        # Larger than a page, so that it spills over several.
        blob = header(text(1000, "added"), text(1001, "1"), text(1002, "2"), text(99, "x" * 20_000))
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
    connection.execute("BEGIN")
    connection.execute("DELETE FROM Packages")
    files = path.read_bytes(), path.with_name("rpmdb.sqlite-wal").read_bytes()
    connection.close()
    return files


def test_what_is_committed_to_the_log_counts(logged: tuple[bytes, bytes]) -> None:
    data, log = logged
    assert [row.name for row in facts_rpm.database(data)] == ["python3.13", "tzdata"]

    found = facts({RPMDB: File(data), f"{RPMDB}-wal": File(log)})

    assert [row.name for row in found.packages] == ["added", "python3.13"]


def test_a_log_that_does_not_count(logged: tuple[bytes, bytes], real: bytes) -> None:
    data, log = logged
    salted = log[:16] + bytes(8) + log[24:]
    for other in (
        b"",
        b"x" * 31,
        b"x" * 9000,
        log[:32],
        log[: 32 + 24 + 100],
        salted,
        log[:8] + b"\xff" * 4 + log[12:],
    ):
        assert facts_rpm.with_log(data, other) == data
    # Only the first transaction is whole.
    half = log[: 32 + (24 + 4096) * 3]
    names = [row.name for row in facts_rpm.database(facts_rpm.with_log(data, half))]
    assert names == ["python3.13"]


def test_azures_two_lists() -> None:
    folder = "var/lib/rpmmanifest"
    short = "python3.3.12.9-3.azl3.x86_64\npython3-libs.3.12.9-3.azl3.x86_64\nglibc-2.38-16.azl3.x86_64\n\nnonsense\n"
    long = "python3\t3.12.9-3.azl3\t1\t2\tMicrosoft Corporation\t(none)\t5\tx86_64\t0\tpython3-3.12.9-3.azl3.src.rpm\n"
    both = facts({f"{folder}/container-manifest-1": short, f"{folder}/container-manifest-2": long})
    one = facts({f"{folder}/container-manifest-1": short})

    assert [row.name for row in both.packages] == ["python3"]
    assert both.package_databases == (PackageDatabase(kind="rpm manifest", path=f"/{folder}/container-manifest-2"),)
    assert [(row.name, row.version, row.architecture) for row in one.packages] == [
        ("glibc", "2.38-16.azl3", "x86_64"),
        ("python3", "3.12.9-3.azl3", "x86_64"),
        ("python3-libs", "3.12.9-3.azl3", "x86_64"),
    ]


def test_an_epoch_is_part_of_the_version() -> None:
    line = "a\t1-2\t1\t2\tV\t3\t5\tnoarch\t3\ta.src.rpm\n"

    assert facts({"var/lib/rpmmanifest/container-manifest-2": line}).packages[0].version == "3:1-2"


def test_one_database_under_two_paths_is_read_once() -> None:
    from factories.image import Link

    apk = "P:musl\nV:1.2.5-r9\nA:x86_64\n"
    found = facts({"usr/lib/apk/db/installed": apk, "lib": Link("usr/lib")})

    assert found.package_databases == (PackageDatabase(kind="apk", path="/lib/apk/db/installed"),)


def test_formats_that_are_not_read_are_named() -> None:
    found = facts({"usr/lib/sysimage/rpm/Packages.db": "y"})

    assert found.packages == ()
    assert found.package_databases == (
        PackageDatabase(kind="rpm ndb", path="/usr/lib/sysimage/rpm/Packages.db", read=False),
    )


@pytest.fixture(scope="module")
def berkeley(root: Path) -> bytes:
    """The headers of ``real``, a larger and a smaller one, in a hash that Berkeley DB 5.3 made (``db5.3_load``)."""
    return lzma.decompress((root / "tests/data/Packages.xz").read_bytes())


def test_a_database_of_berkeley_db(berkeley: bytes) -> None:
    found = facts({"var/lib/rpm/Packages": File(berkeley)})

    assert [(row.name, row.version) for row in found.packages] == [
        ("basesystem", "11-5.el8"),
        ("glibc", "2.28-251.el8_10.22"),
        ("python3.13", "3.13.7-1.hum1"),
        ("tzdata", "2:2025b-1.hum1"),
    ]
    assert found.package_databases == (PackageDatabase(kind="rpm bdb", path="/var/lib/rpm/Packages"),)


def swapped(data: bytes) -> bytes:
    """The same database as a machine of the other byte order writes it."""
    out = bytearray(data)

    def turn(at: int, size: int) -> None:
        out[at : at + size] = out[at : at + size][::-1]

    for begin in range(0, len(data), 4096):
        fields = ((12, 4), (16, 4), (20, 4)) if begin == 0 else ((12, 4), (16, 4), (20, 2), (22, 2))
        for at, size in fields:
            turn(begin + at, size)
        if data[begin + 25] == 13:
            for index in range(struct.unpack_from("<H", data, begin + 20)[0]):
                offset = struct.unpack_from("<H", data, begin + 26 + 2 * index)[0]
                turn(begin + 26 + 2 * index, 2)
                if data[begin + offset] == 3:
                    turn(begin + offset + 4, 4)
                    turn(begin + offset + 8, 4)
    return bytes(out)


def test_a_database_of_the_other_byte_order(berkeley: bytes) -> None:
    assert list(facts_rpm_bdb.database(swapped(berkeley))) == list(facts_rpm_bdb.database(berkeley))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "no hash of Berkeley DB"),
        (lambda data: b"\0" * 9000, "no hash of Berkeley DB"),
        (lambda data: data[:20] + b"\x07\0\0\0" + data[24:], "its pages have 7 bytes"),
        (lambda data: data[:20], "damaged"),
        (lambda data: data[: 6 * 4096], "damaged"),
        # An overflow page that is none, one that comes after itself, and one that ends the chain.
        (lambda data: data[: 5 * 4096 + 25] + b"\x0d" + data[5 * 4096 + 26 :], "chain of its pages is damaged|damaged"),
        (lambda data: data[: 5 * 4096 + 16] + b"\5\0\0\0\0\0\0\0" + data[5 * 4096 + 24 :], "is damaged"),
        (lambda data: data[: 5 * 4096 + 16] + b"\0\0\0\0" + data[5 * 4096 + 20 :], "ends too early"),
        (lambda data: data[: 4096 + 20] + b"\xff\xff" + data[4096 + 22 :], "damaged"),
    ],
)
def test_a_hash_that_is_none(change: Callable[[bytes], bytes], said: str, berkeley: bytes) -> None:
    with pytest.raises(RpmError, match=said):
        list(facts_rpm_bdb.database(change(berkeley)))


@given(st.lists(st.tuples(st.integers(0, 32767), st.integers(0, 255)), max_size=8))
def test_whatever_is_changed_it_ends(berkeley: bytes, edits: list[tuple[int, int]]) -> None:
    data = bytearray(berkeley)
    for at, value in edits:
        data[at] = value
    with contextlib.suppress(RpmError):
        list(facts_rpm_bdb.database(bytes(data)))


@pytest.mark.parametrize("wall", ["{", "[" * 100_000, '{"kind":"package"}'])
def test_a_manifest_of_chisel_that_is_none(wall: str) -> None:
    with pytest.raises(BaseImageError, match="list of packages cannot be read") as problem:
        facts({"var/lib/chisel/manifest.wall": wall})
    assert problem.value.exit_code == 20


# Cross-checks of the version


def test_everybody_agrees() -> None:
    found = facts(
        {"usr/lib/apk/db/installed": "P:python-3.12\nV:3.12.9-r2\n\nP:python-3.12-dev\nV:3.12.9-r2\n"},
        env=("PYTHON_VERSION=3.12.9",),
        annotations=(("com.google.distroless.python.version", "3.12.9"),),
    )

    assert found.version_claims == (
        VersionClaim(source="annotation com.google.distroless.python.version", version="3.12.9", agrees=True),
        VersionClaim(source="variable PYTHON_VERSION", version="3.12.9", agrees=True),
        VersionClaim(source="package python-3.12", version="3.12.9-r2", agrees=True),
    )


@pytest.mark.parametrize(
    ("version", "package", "agrees"),
    [
        ("3.12.9", "3.12.8-1", False),
        ("3.12.9", "2:3.12.9-1", True),
        ("3.12.9", "3.12.9_git20260925-r0", True),
        ("3.12.0", "3.12.0~rc2-1", False),
    ],
)
def test_a_package_of_another_version(version: str, package: str, agrees: bool) -> None:
    files: Files = {"usr/lib/apk/db/installed": f"P:python3\nV:{package}\n"}
    found = image_facts(glibc(), python(version), files)

    assert found.version_claims == (VersionClaim(source="package python3", version=package, agrees=agrees),)


def test_another_python_of_the_distributor_says_nothing_about_ours() -> None:
    files: Files = {
        "var/lib/dpkg/status": "Package: python3.13-minimal\nStatus: install ok installed\nVersion: 3.13.5-2\n"
    }
    local = image_facts(glibc(), python("3.13.9", prefix="usr/local"), files)
    minor = image_facts(glibc(), python("3.12.9"), files)

    assert local.version_claims == minor.version_claims == ()
