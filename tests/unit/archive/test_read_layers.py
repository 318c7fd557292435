"""Reading layers: what honest writers make reads as tarfile reads it, everything else is an error."""

import contextlib
import gzip
import hashlib
import importlib
import io
import shutil
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from factories.image import Folder, Hard, Link, make_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbuild.archive import tar as writer
from dpbuild.archive.decompress import ReadError, limit_of
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.read import entries, open_layer

LIMIT = 1 << 30


def _read(data: bytes, *, limit: int = LIMIT) -> list[tuple[Entry, bytes | None]]:
    stream, _ = open_layer(io.BytesIO(data), limit=limit)
    return [(entry, None if content is None else content.read()) for entry, content in entries(stream)]


def _entries(data: bytes) -> list[Entry]:
    return [entry for entry, _ in _read(data)]


def _block(name: bytes = b"x", kind: bytes = b"0", size: int = 0, **fields: bytes) -> bytes:
    """One header with raw fields and a right checksum."""
    row = tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)
    places = {"mode": 100, "uid": 108, "mtime": 136, "link": 157, "magic": 257, "prefix": 345}
    data = bytearray(name.ljust(100, b"\0") + row[100:])
    data[124:136] = b"%011o\0" % size
    data[156:157] = kind
    for field, value in fields.items():
        data[places[field] : places[field] + len(value)] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


END = bytes(1024)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tarfile(kind: int) -> None:
    long = "d/" + "x" * 90 + "/" + "y" * 90
    data = make_tar(
        {"./": Folder(0o700), "./a": b"hello", "./l": Link("../a"), "./h": Hard("./a"), long: b"1" * 1000}, kind=kind
    )

    found = _read(data)

    assert [(row.path, row.kind, row.mode, row.size, row.target) for row, _ in found] == [
        ("", Kind.DIRECTORY, 0o700, 0, ""),
        ("a", Kind.FILE, 0o755, 5, ""),
        ("l", Kind.SYMLINK, 0o777, 0, "../a"),
        ("h", Kind.HARDLINK, 0o755, 0, "a"),
        (long, Kind.FILE, 0o755, 1000, ""),
    ]
    assert [content for _, content in found] == [None, b"hello", None, None, b"1" * 1000]


@pytest.mark.parametrize("kind", ["v7", "ustar", "oldgnu", "gnu", "posix"])
def test_every_format_of_gnu_tar(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"x" * 700)
    (folder / "hard").hardlink_to(folder / "sub" / "file")
    (folder / "link").symlink_to("sub/file")
    made = tmp_path / "made.tar"
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("there is no tar")
    subprocess.run([tar, f"--format={kind}", "--sort=name", "-C", folder, "-cf", made, "."], check=True)

    rows = {row.path: (row.kind, row.size, row.target) for row in _entries(made.read_bytes())}

    assert rows == {
        "": (Kind.DIRECTORY, 0, ""),
        "hard": (Kind.FILE, 700, ""),
        "link": (Kind.SYMLINK, 0, "sub/file"),
        "sub": (Kind.DIRECTORY, 0, ""),
        "sub/file": (Kind.HARDLINK, 0, "hard"),
    }


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=80).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_NAMES, min_size=1, max_size=4).map("/".join),
    st.sampled_from(list(Kind)),
    st.integers(0, 0o7777),
    st.integers(0, 1 << 40),
    st.integers(-(1 << 40), 1 << 40),
    _NAMES,
    st.dictionaries(st.sampled_from(["user.a", "security.capability"]), st.binary(max_size=30)),
)
def test_what_the_writer_writes_the_reader_reads(
    path: str, kind: Kind, mode: int, uid: int, mtime: int, target: str, xattrs: dict[str, bytes]
) -> None:
    # An empty PAX value deletes a record, in Go as in POSIX.
    attributes = tuple(sorted((key, value) for key, value in xattrs.items() if value))
    entry = Entry(
        path=path,
        kind=kind,
        mode=mode,
        uid=uid,
        mtime=mtime,
        size=7 if kind is Kind.FILE else 0,
        target=target if kind in (Kind.SYMLINK, Kind.HARDLINK) else "",
        user="root",
        device=(8, 1) if kind in (Kind.BLOCK, Kind.CHARACTER) else (0, 0),
        xattrs=attributes,
    )
    data = writer.header(entry) + (b"content" + writer.padding(7) if kind is Kind.FILE else b"") + writer.END

    assert _entries(data) == [entry]


def test_global_headers_change_nothing() -> None:
    """As in Go: whoever obeyed them would see other files than the engine unpacks."""
    record = b"%d path=elsewhere\n" % (len(b" path=elsewhere\n") + 2)
    data = _block(b"g", b"g", len(record)) + record.ljust(512, b"\0") + _block(b"real") + END

    assert [row.path for row in _entries(data)] == ["real"]


def test_what_a_link_says_of_its_size_is_not_skipped() -> None:
    data = _block(b"link", b"2", 512, link=b"target") + _block(b"hidden") + END

    assert [row.path for row in _entries(data)] == ["link", "hidden"]


def test_the_end_may_be_missing_at_a_border() -> None:
    assert [row.path for row in _entries(_block(b"a"))] == ["a"]


def test_the_digest_covers_what_follows_the_end() -> None:
    data = make_tar({"a": b"x"}) + b"\0" * 5000
    stream, raw = open_layer(io.BytesIO(gzip.compress(data)), limit=LIMIT)

    assert [entry.path for entry, _ in entries(stream)] == ["a"]
    assert (raw.digest(), raw.size) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize("pieces", [1, 3])
def test_members_may_follow_one_another(pieces: int) -> None:
    data = make_tar({"a": b"x" * 3000})
    step = -(-len(data) // pieces)
    joined = b"".join(gzip.compress(data[i : i + step]) for i in range(0, len(data), step))

    assert _read(joined) == _read(data)


def _has_zstd() -> bool:
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return bool(importlib.import_module(name))
    return False


def test_zstd_is_read_or_says_what_it_needs(tmp_path: Path) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("there is no zstd")
    (tmp_path / "x").write_bytes(make_tar({"a": b"x" * 3000}))
    packed = subprocess.run([zstd, "-c", tmp_path / "x"], capture_output=True, check=True).stdout
    if _has_zstd():
        assert [row.path for row in _entries(packed)] == ["a"]
    else:
        with pytest.raises(ReadError, match=r"backports\.zstd"):
            _entries(packed)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_block(b"../evil") + END, "leads out"),
        (_block(b"a/../../evil") + END, "leads out"),
        (_block(b"h", b"1", link=b"../evil") + END, "leads out"),
        (_block(b"a" * 100, prefix=b"/".join([b"b"] * 70)) + _block(b"/".join([b"c"] * 50)) + END, None),
        (_block(b"l", b"2") + END, "no target"),
        (_block(b"s", b"S") + END, "sparse"),
        (_block(b"q", b"Q") + END, "unknown type"),
        (_block(b"m", mode=b"99999\0") + END, "no number"),
        (_block(b"x")[:-1] + b"\1" + END, "checksum"),
        (b"not a tar at all".ljust(1024, b"."), "checksum"),
        (_block(b"x")[:300], "within a header"),
        (_block(b"x", size=600) + b"y" * 512, "within"),
        (_block(b"x", size=1 << 30), "within"),
        (bytes(512) + _block(b"x"), "follow a block of zeros"),
        (_block(b"p", b"x", 2 << 20) + bytes(2 << 20), "too large"),
        (_block(b"p", b"x", 4) + b"abc\n".ljust(512, b"\0") + _block() + END, "no length"),
        (_block(b"p", b"x", 9) + b"9 path=x\n".replace(b"=", b"-").ljust(512, b"\0") + _block() + END, "damaged"),
        (_block(b"p", b"x", 9) + b"999 path=".ljust(512, b"\0") + _block() + END, "damaged"),
        (_block(b"p", b"x", 24) + b"24 GNU.sparse.size=1000\n".ljust(512, b"\0") + _block() + END, "sparse"),
        (_block(b"p", b"x", 13) + b"13 size=-100\n".ljust(512, b"\0") + _block() + END, "negative"),
        (_block(b"p", b"x", 12) + b"12 path=a\0b\n".ljust(512, b"\0") + _block() + END, "NUL"),
        (_block(b"p", b"x", 11) + b"11 uid=abc\n".ljust(512, b"\0") + _block() + END, "no number"),
        (_block(b"p", b"x", 10) + b"10 path=x\n".ljust(512, b"\0") + END, "belongs to no entry"),
        (gzip.compress(make_tar({"a": b"x" * 9000}), mtime=0)[:-30], "too early"),
        (gzip.compress(make_tar({"a": b"x"}), mtime=0) + b"garbage", "damaged"),
        (gzip.compress(make_tar({"a": b"x"}), mtime=0)[:-6] + b"\0\0\0\0\0\0", "damaged"),
    ],
)
def test_what_is_refused(data: bytes, said: str | None) -> None:
    if said is None:
        assert len(_entries(data)) == 2
        return
    with pytest.raises(ReadError, match=said):
        _read(data)


def test_a_name_that_no_file_system_takes_is_refused() -> None:
    with pytest.raises(ReadError, match="too long"):
        _entries(make_tar({"x" * 300: b""}))
    with pytest.raises(ReadError, match="too deep"):
        _entries(make_tar({"a/" * 300 + "x": b""}))


def test_a_bomb_is_noticed_long_before_it_is_unpacked() -> None:
    bomb = gzip.compress(bytes(64 << 20), 9)
    data = gzip.compress(make_tar({"a": b""})[:512]) + bomb * 200
    tracemalloc.start()
    try:
        with pytest.raises(ReadError, match="unpacks to more than 67108864"):
            _read(data, limit=64 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def test_the_limit_is_generous_and_grows_with_the_layer() -> None:
    assert (limit_of(1), limit_of(100 << 20)) == (1 << 30, 200 * (100 << 20))


def test_too_many_entries_are_refused() -> None:
    data = _block(b"x") * 50 + END
    stream, _ = open_layer(io.BytesIO(data), limit=LIMIT)

    with pytest.raises(ReadError, match="more than 49 entries"):
        list(entries(stream, most=49))


_VALID = make_tar({"./": Folder(), "a": b"hello", "ü" * 120: b"x", "l": Link("a"), "h": Hard("a")})


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(_VALID) - 1), st.integers(0, 255)), max_size=8), st.booleans())
def test_whatever_is_changed_nothing_but_a_read_error_comes_out(edits: list[tuple[int, int]], mend: bool) -> None:
    data = bytearray(_VALID)
    for position, value in edits:
        data[position] = value
    if mend:  # so that the parser behind the checksum is reached
        for at in range(0, len(data), 512):
            if data[at + 257 : at + 262] == b"ustar":
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    try:
        _read(bytes(data), limit=1 << 20)
    except ReadError:
        return
