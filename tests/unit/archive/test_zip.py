"""Everything that readers of zip could see differently is refused; what honest writers make is read."""

import io
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbuild.archive.zip import Member, ZipError, members


def reading(data: bytes) -> tuple[Member, ...]:
    return members(lambda offset, size: data[offset : offset + size], len(data))


def make(
    files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, mode: int = 0o100644, stream: bool = False
) -> bytes:
    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return not stream

        def seek(self, *args: int) -> int:
            if stream:
                raise io.UnsupportedOperation
            return super().seek(*args)

        def tell(self) -> int:
            if stream:
                raise io.UnsupportedOperation
            return super().tell()

    out = Unseekable()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o040755 if name.endswith("/") else mode) << 16
            info.compress_type = method
            archive.writestr(info, data)
    return out.getvalue()


PLAIN = {"a/b.py": b"print(1)\n" * 100, "a/c.so": bytes(range(256)) * 20, "empty": b""}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("stream", [False, True], ids=["seekable", "descriptors"])
def test_honest_archives_are_read(method: int, stream: bool) -> None:
    data = make(PLAIN, method=method, stream=stream)
    found = reading(data)
    assert [(row.name, row.size) for row in found] == [(name, len(body)) for name, body in PLAIN.items()]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for row in found:
            info = archive.getinfo(row.name)
            assert (row.crc, row.compressed, row.method) == (info.CRC, info.compress_size, info.compress_type)


def test_folders_are_left_out_and_modes_kept() -> None:
    found = reading(make({"a/": b"", "a/run": b"#!python"}, mode=0o100755))
    assert [(row.name, row.mode) for row in found] == [("a/run", 0o755)]


def test_zip64_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("big", "w", force_zip64=True) as file:
        file.write(b"x" * 1000)
    assert reading(out.getvalue())[0].size == 1000


def central(data: bytes) -> int:
    return data.index(b"PK\x01\x02")


def end(data: bytes) -> int:
    return data.rindex(b"PK\x05\x06")


def poke(data: bytes, at: int, form: str, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(form, out, at, value)
    return bytes(out)


ONE = make({"name.py": b"x = 1\n" * 50})
TWO = make({"a": b"1" * 99, "b": b"2" * 99})


def with_extra(kind: int, body: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("name.py")
        info.extra = struct.pack("<HH", kind, len(body)) + body
        archive.writestr(info, b"x")
    return out.getvalue()


def gap() -> bytes:
    """Bytes between the last member and the central directory, with the end record put right."""
    at = central(ONE)
    data = ONE[:at] + b"hidden" + ONE[at:]
    return poke(data, end(data) + 16, "<L", at + 6)


def overlap() -> bytes:
    """The second row of the directory points at the first member."""
    second = TWO.index(b"PK\x01\x02", central(TWO) + 4)
    return poke(TWO, second + 42, "<L", 0)


def unused_member() -> bytes:
    """A local header that the central directory does not know."""
    second = TWO.index(b"PK\x01\x02", central(TWO) + 4)
    data = TWO[:second] + TWO[end(TWO) :]
    data = poke(data, end(data) + 8, "<H", 1)
    data = poke(data, end(data) + 10, "<H", 1)
    return poke(data, end(data) + 12, "<L", second - central(TWO))


def with_local_sizes(size: int, compressed: int) -> bytes:
    """A zip64 field in the local header alone, though nothing is masked."""
    extra = struct.pack("<HHQQ", 1, 16, size, compressed)
    data = poke(ONE[:37] + extra + ONE[37:], 28, "<H", len(extra))
    return poke(data, end(data) + 16, "<L", central(data))


def test_sizes_that_are_said_again_in_the_local_header_are_read() -> None:
    """protobuf's wheels are written so."""
    (row,) = reading(ONE)
    assert reading(with_local_sizes(row.size, row.compressed))[0].size == row.size


def test_other_sizes_in_the_local_header_are_refused() -> None:
    (row,) = reading(ONE)
    with pytest.raises(ZipError, match="zip64 field with more"):
        reading(with_local_sizes(row.size + 1, row.compressed))


def renamed(new: bytes) -> bytes:
    return ONE.replace(b"name.py", new)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty file": (lambda: b"", "no end record"),
    "truncated": (lambda: ONE[:-5], "no end record"),
    "cut in the middle": (lambda: ONE[: len(ONE) // 2], "no end record"),
    "trailing data": (lambda: ONE + b"x", "behind its end record"),
    "prefix": (lambda: b"#!/bin/sh\n" + ONE, "malformed|gap|follow|outside|local header"),
    "prefix with offsets put right": (
        lambda: poke(poke(b"PREFIX" + ONE, 6 + end(ONE) + 16, "<L", central(ONE) + 6), 6 + central(ONE) + 42, "<L", 6),
        "members",
    ),
    "second end record": (
        lambda: ONE[:-2] + struct.pack("<H", 22) + ONE[end(ONE) :],
        "two end records|malformed|gap",
    ),
    "comment that holds an end record": (
        lambda: ONE[:-2] + struct.pack("<H", 22 + 4) + b"abcd" + ONE[end(ONE) :],
        "two end records|gap",
    ),
    "gap before the directory": (gap, "between the members"),
    "overlap": (overlap, "overlap|differs"),
    "member that only a stream reader sees": (unused_member, "between the members"),
    "encrypted": (lambda: poke(poke(ONE, 6, "<H", 1), central(ONE) + 8, "<H", 1), "encryption"),
    "patched": (lambda: poke(poke(ONE, 6, "<H", 32), central(ONE) + 8, "<H", 32), "patched"),
    "masked": (lambda: poke(poke(ONE, 6, "<H", 1 << 13), central(ONE) + 8, "<H", 1 << 13), "masked"),
    "other method": (lambda: poke(poke(ONE, 8, "<H", 12), central(ONE) + 10, "<H", 12), "compression method 12"),
    "local name differs": (lambda: ONE[:30] + b"evil.py" + ONE[37:], "local header that differs"),
    "local method differs": (lambda: poke(ONE, 8, "<H", 0), "local header that differs"),
    "local flags differ": (lambda: poke(ONE, 6, "<H", 2), "local header that differs"),
    "local CRC differs": (lambda: poke(ONE, 14, "<L", 7), "CRC or sizes"),
    "local compressed size differs": (lambda: poke(ONE, 18, "<L", 7), "CRC or sizes"),
    "local size differs": (lambda: poke(ONE, 22, "<L", 7), "CRC or sizes"),
    "central size differs": (lambda: poke(ONE, central(ONE) + 24, "<L", 7), "CRC or sizes"),
    "count differs": (lambda: poke(poke(ONE, end(ONE) + 8, "<H", 2), end(ONE) + 10, "<H", 2), "counts 2 members"),
    "several disks": (lambda: poke(ONE, end(ONE) + 4, "<H", 1), "several disks"),
    "stored with two sizes": (
        lambda: poke(poke(ONE, 8, "<H", 0), central(ONE) + 10, "<H", 0),
        "two sizes differ",
    ),
    "parent": (lambda: make({"../evil": b"x"}), "leaves its folder"),
    "absolute": (lambda: make({"/etc/passwd": b"x"}), "leaves its folder"),
    "dot": (lambda: make({"a/./b": b"x"}), "leaves its folder"),
    "empty component": (lambda: make({"a//b": b"x"}), "leaves its folder"),
    "backslash": (lambda: renamed(b"na\\e.py"), "backslash"),
    "NUL": (lambda: renamed(b"na\0e.py"), "NUL"),
    "not UTF-8": (lambda: renamed(b"na\xffe.py"), "not marked or not valid"),
    "too long": (lambda: make({"x" * 256: b""}), "over 255 bytes"),
    "whiteout": (lambda: make({"pkg/.wh.other": b""}), "delete files"),
    "opaque whiteout": (lambda: make({"pkg/.wh..wh..opq": b""}), "delete files"),
    "twice": (lambda: TWO.replace(b"b", b"a"), "in it twice"),
    "twice after normalisation": (lambda: make({"caf\u00e9": b"1", "cafe\u0301": b"2"}), "in it twice"),
    "file and folder": (lambda: make({"a": b"1", "a/b": b"2"}), "a file and a folder"),
    "file and empty folder": (lambda: make({"a": b"1", "a/": b""}), "a file and a folder"),
    "link": (lambda: make({"a": b"/etc/passwd"}, mode=0o120777), "link or a device"),
    "device": (lambda: make({"a": b""}, mode=0o020666), "link or a device"),
    "folder by its mode": (lambda: make({"a": b""}, mode=0o040755), "folder by one field"),
    "Unicode path": (lambda: with_extra(0x7075, b"\x01" + bytes(4) + b"evil"), "second name"),
    "malformed extra": (lambda: with_extra(0x9999, b"")[:0] + _short_extra(), "malformed extra"),
    "zip64 without need": (lambda: with_extra(0x0001, bytes(8)), "zip64 field with more"),
    "zip64 with other sizes": (lambda: with_extra(0x0001, struct.pack("<QQ", 1, 2)), "zip64 field with more"),
    "zip64 in half": (lambda: with_extra(0x0001, struct.pack("<QL", 1, 1)), "zip64 field with more"),
}


def test_zip64_may_say_the_same_again() -> None:
    """As some writers do for every member, however small (protobuf's wheels)."""
    (member,) = reading(with_extra(0x0001, struct.pack("<QQ", 1, 1)))
    assert (member.name, member.size, member.compressed) == ("name.py", 1, 1)


def _short_extra() -> bytes:
    data = with_extra(0x9999, b"abcd")
    return data.replace(struct.pack("<HH", 0x9999, 4), struct.pack("<HH", 0x9999, 9))


@pytest.mark.parametrize("name", REFUSED)
def test_what_readers_see_differently_is_refused(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(ZipError, match=message):
        reading(build())


def test_a_data_descriptor_must_agree() -> None:
    data = make({"a": b"1" * 99}, stream=True)
    at = data.index(b"PK\x07\x08")
    assert reading(data)
    for offset in (4, 8, 12):
        with pytest.raises(ZipError, match="data descriptor"):
            reading(poke(data, at + offset, "<L", 5))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(TWO) - 1), st.integers(0, 255))
def test_damage_is_an_error_of_ours_or_harmless(at: int, value: int) -> None:
    data = TWO[:at] + bytes([value]) + TWO[at + 1 :]
    try:
        found = reading(data)
    except ZipError:
        return
    assert {row.name for row in found} <= {"a", "b"} or data != TWO


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_an_error_of_ours(noise: bytes) -> None:
    with pytest.raises(ZipError):
        reading(noise)
