"""Facts of ELF files: packed by hand for every machine, the host's own against pyelftools, and damaged ones."""

import io
import mmap
import random
import sys
import sysconfig
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection
from factories.elf import MACHINES, make_elf
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbuild.elf.facts import ElfFacts, newest
from dpbuild.elf.reader import ElfError, is_elf, read
from dpbuild.elf.symbols import number

FULL = make_elf(
    interp="/lib64/ld-linux-x86-64.so.2",
    soname="libfull.so.1",
    needed=("libm.so.6", "libc.so.6"),
    rpath="$ORIGIN/../lib:/opt/x",
    runpath="$ORIGIN",
    verneed=(("libm.so.6", ("GLIBC_2.29",)), ("libc.so.6", ("GLIBC_2.2.5", "GLIBC_2.34"))),
    weak=("GLIBC_2.34",),
    verdef=("FULL_1.0", "FULL_1.10"),
    symbols={"other": b"abc", "Py_Version": (0x030D05F0).to_bytes(8, "little")},
    build_id=bytes.fromhex("0123abcd"),
)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_field_on_every_machine(machine: str) -> None:
    _, bits, order = MACHINES[machine]
    found = read(
        make_elf(
            machine,
            type="executable",
            interp="/lib/ld.so",
            soname="s",
            needed=("a", "b"),
            rpath="/r:/s",
            runpath="/u",
            verneed=(("a", ("V1", "V2")), ("b", ("W1",))),
            weak=("V2",),
            verdef=("D1", "D2"),
            build_id=b"\xab\xcd",
            flags=0x400,
        )
    )

    assert found == ElfFacts(
        machine=machine,
        bits=64 if bits == 64 else 32,
        endianness="little" if order == "<" else "big",
        type="executable",
        flags=0x400,
        interp="/lib/ld.so",
        dynamic=True,
        soname="s",
        needed=("a", "b"),
        rpath=("/r", "/s"),
        runpath=("/u",),
        verneed=(("a", ("V1", "V2")), ("b", ("W1",))),
        verneed_weak=(("a", ("V2",)),),
        verdef=("D1", "D2"),
        build_id="abcd",
    )


def test_a_static_program_has_no_dynamic_facts() -> None:
    found = read(make_elf(type="executable", dynamic=False))

    assert (found.dynamic, found.interp, found.needed) == (False, "", ())


def test_newest_compares_numbers_and_leaves_words_out() -> None:
    assert newest(("GLIBC_2.4", "GLIBC_2.36", "GLIBC_PRIVATE", "GLIBC_2.9", "GLIBCXX_9.9"), "GLIBC_") == (2, 36)
    assert newest(("GLIBC_PRIVATE",), "GLIBC_") is None


@pytest.mark.parametrize("machine", MACHINES)
def test_an_exported_number_in_either_byte_order(machine: str) -> None:
    _, bits, order = MACHINES[machine]
    word: bytes = (0x030D05F0).to_bytes(bits // 8, "little" if order == "<" else "big")
    data = make_elf(machine, symbols={"first": b"xx", "Py_Version": word, "last": b"y"})

    assert number(data, "Py_Version") == 0x030D05F0
    assert number(data, "missing") is None
    assert number(data, "first") is None


def test_the_running_python_exports_its_version() -> None:
    """Through DT_GNU_HASH, as linkers make it today."""
    library = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED") and library.is_file()
    data = (library if shared else Path(sys.executable).resolve()).read_bytes()

    assert number(data, "Py_Version") == sys.hexversion


def test_a_map_can_be_closed_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF" + bytes(100))

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        with pytest.raises(ElfError) as problem:
            read(data)
        assert problem.value.__traceback__ is not None


def _expected(data: bytes) -> dict[str, object]:
    """The same facts by pyelftools, from section headers where it knows no other way."""
    file = ELFFile(io.BytesIO(data))
    out: dict[str, object] = {
        "bits": file.elfclass,
        "endianness": "little" if file.little_endian else "big",
        "interp": "",
        "soname": "",
    }
    lists: dict[str, list[object]] = {"needed": [], "rpath": [], "runpath": [], "verneed": [], "verdef": []}
    for segment in file.iter_segments():
        if segment["p_type"] == "PT_INTERP":
            out["interp"] = segment.get_interp_name()
        if isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                match tag.entry.d_tag:
                    case "DT_NEEDED":
                        lists["needed"].append(tag.needed)
                    case "DT_SONAME":
                        out["soname"] = tag.soname
                    case "DT_RPATH":
                        lists["rpath"] += [part for part in tag.rpath.split(":") if part]
                    case "DT_RUNPATH":
                        lists["runpath"] += [part for part in tag.runpath.split(":") if part]
    for section in file.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            lists["verneed"] += [(row.name, tuple(aux.name for aux in more)) for row, more in section.iter_versions()]
        if isinstance(section, GNUVerDefSection):
            for row, more in section.iter_versions():
                first = next(aux.name for aux in more)
                if not row["vd_flags"] & 1:
                    lists["verdef"].append(first)
    return out | {key: tuple(value) for key, value in lists.items()}


def _libraries() -> list[Path]:
    """The host's libraries and the extension modules that are installed here; a fixed sample of many."""
    folders = [Path(sysconfig.get_path("platlib")), Path(sysconfig.get_path("stdlib")), Path("/usr/lib"), Path("/lib")]
    found = sorted({path.resolve() for folder in folders for path in folder.rglob("*.so*") if path.is_file()})
    found = [path for path in found if path.stat().st_size < 8 << 20 and is_elf(_magic(path))]
    return sorted(random.Random(1).sample(found, min(100, len(found))))


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def test_the_hosts_libraries_read_as_pyelftools_reads_them() -> None:
    libraries = [Path(sys.executable).resolve(), *_libraries()]
    assert len(libraries) > 20

    for path in libraries:
        data = path.read_bytes()
        found = read(data)
        expected = _expected(data)
        assert {key: getattr(found, key) for key in expected} == expected, path


@pytest.mark.parametrize("size", [*range(70), *range(70, FULL.index(b"/lib64/ld-linux"), 13)])
def test_a_truncated_file_is_an_elf_error(size: int) -> None:
    with pytest.raises(ElfError):
        read(FULL[:size])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(FULL) - 1), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)),
        max_size=12,
    ),
    st.integers(0, len(FULL)),
)
def test_whatever_is_changed_nothing_but_an_elf_error_comes_out(edits: list[tuple[int, int]], size: int) -> None:
    data = bytearray(FULL)
    for position, value in edits:
        data[position] = value
    for part in (bytes(data), bytes(data[:size])):
        for look in (read, lambda raw: number(raw, "Py_Version")):
            try:
                look(part)
            except ElfError:
                continue


@given(st.binary(max_size=200))
def test_bytes_behind_a_magic_are_an_elf_error(data: bytes) -> None:
    with pytest.raises(ElfError):
        read(data if not is_elf(data) else data[1:])
    try:
        read(b"\x7fELF\x02\x01\x01" + data)
    except ElfError:
        return


def test_names_that_would_be_read_a_million_times_end_in_an_error() -> None:
    """A table of needed versions that runs over itself in steps of one byte, with long names, stays bounded."""
    data = bytearray(make_elf(needed=("x" * 60000,), verneed=(("a", ("b",)),), payload=b"\1\0\xff\xff" * 200_000))
    tags = data.index((0x6FFFFFFF).to_bytes(8, "little"))
    data[tags + 8 : tags + 16] = (0xFFFFFFFF).to_bytes(8, "little")

    assert read(bytes(data)).verneed == (("a", ("b",)),)
    at = data.index(b"\1\0\1\0", 300)
    data[at + 12 : at + 16] = (1).to_bytes(4, "little")
    with pytest.raises(ElfError):
        read(bytes(data))
