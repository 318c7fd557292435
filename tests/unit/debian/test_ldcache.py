"""The loader's cache equals, byte for byte, what ldconfig writes over the same tree."""

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from factories.elf import make_elf

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.debian import ldcache
from dpbuild.elf import reader
from dpbuild.elf.facts import ElfFacts

LDCONFIG = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")


def write(root: Path, path: str, content: bytes | str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        place.symlink_to(content)
    else:
        place.write_bytes(content)


def tree_of(root: Path) -> FileTree:
    rows = [Entry(path="", kind=Kind.DIRECTORY, mode=0o755)]
    for place in sorted(root.rglob("*")):
        path = place.relative_to(root).as_posix()
        if place.is_symlink():
            rows.append(Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=os.readlink(place)))
        elif place.is_dir():
            rows.append(Entry(path=path, kind=Kind.DIRECTORY, mode=0o755))
        else:
            rows.append(Entry(path=path, kind=Kind.FILE, mode=0o644, size=place.stat().st_size))
    return FileTree.of([rows])


def make(root: Path, generator: str) -> bytes:
    def inspect(path: str) -> ElfFacts | None:
        try:
            return reader.read((root / path).read_bytes())
        except reader.ElfError:
            return None

    return ldcache.make(tree_of(root), lambda path: (root / path).read_bytes(), inspect, generator)


def library(soname: str = "", machine: str = "x86_64", **more: object) -> bytes:
    return make_elf(machine, soname=soname, **more)  # type: ignore[arg-type]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Everything that ldconfig treats in a way of its own."""
    root = tmp_path / "root"
    write(root, "lib", "usr/lib")
    write(root, "etc/ld.so.conf", b"# first\ninclude /etc/ld.so.conf.d/*.conf\n/opt/a/lib\n")
    write(root, "etc/ld.so.conf.d/b.conf", b"/usr/lib/x86_64-linux-gnu # twice\n/lib/x86_64-linux-gnu\n/not/there\n")
    write(root, "etc/ld.so.conf.d/a.conf", b"\t/usr/local/lib/\n")
    write(root, "etc/ld.so.conf.d/c.txt", b"/opt/never\n")
    multi = "usr/lib/x86_64-linux-gnu"
    for name in ("libfoo.so.1.2", "libbar.so.10.0", "libbar.so.9.0"):
        write(root, f"{multi}/{name}", library(name.split(".so")[0] + ".so.1"))
    write(root, f"{multi}/libfoo.so.1", "libfoo.so.1.2")
    write(root, f"{multi}/libfoo.so", "libfoo.so.1.2")
    write(root, f"{multi}/libbar.so.1", "libbar.so.10.0")
    write(root, f"{multi}/ld-linux-x86-64.so.2", library("ld-linux-x86-64.so.2"))
    write(root, f"{multi}/libplain.so", library())
    write(root, f"{multi}/libodd.so", "sub/libreal.so.7")
    write(root, f"{multi}/sub/libreal.so.7", library("libreal.so.7"))
    write(root, f"{multi}/libdangling.so.1", "nothing")
    write(root, f"{multi}/libprogram.so.1", library("libprogram.so.1", type="executable"))
    write(root, f"{multi}/libstatic.so.1", library(dynamic=False))
    write(root, f"{multi}/libtext.so", b"/* GNU ld script */ INPUT(-lfoo)\n" + b" " * 100)
    write(root, f"{multi}/notlib.so.1", library("notlib.so.1"))
    write(root, f"{multi}/libdir.so.1/x", b"")
    write(root, "usr/lib/libfoo.so.1", library("libfoo.so.1"))
    write(root, "usr/local/lib/libfoo.so.1", library("libfoo.so.1"))
    write(root, "usr/local/lib/libz++.so.6.0.33", library("libz++.so.6"))
    write(root, "opt/a/lib/libfoo_a.so.1", library("libfoo_a.so.1"))
    write(root, "opt/a/lib/libfoo1.so", library("libfoo1.so"))
    write(root, "opt/a/lib/libfoo01.so.2", library("libfoo01.so.2"))
    return root


@pytest.mark.skipif(LDCONFIG is None, reason="ldconfig is not installed")
def test_the_same_bytes_as_ldconfig(image: Path):
    said = subprocess.run([LDCONFIG, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"ldconfig \((\S+ GLIBC \S+)\) (\S+)", said)
    if version is None or not version[1].startswith("Debian"):
        pytest.skip("this ldconfig is not Debian's")
    found = make(image, f"ldconfig ({version[1]}) stable release version {version[2]}")
    subprocess.run([LDCONFIG, "-X", "-r", str(image)], check=True, capture_output=True)
    assert found == (image / "etc/ld.so.cache").read_bytes()


@pytest.mark.skipif(LDCONFIG is None, reason="ldconfig is not installed")
def test_the_same_bytes_as_ldconfig_with_hwcaps(image: Path):
    for level in ("x86-64-v3", "x86-64-v2"):
        write(image, f"usr/local/lib/glibc-hwcaps/{level}/libfoo.so.1.2", library("libfoo.so.1"))
    write(image, "usr/local/lib/glibc-hwcaps/x86-64-v3/libfoo.so.1", "libfoo.so.1.2")
    said = subprocess.run([LDCONFIG, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"ldconfig \((\S+ GLIBC \S+)\) (\S+)", said)
    if version is None or not version[1].startswith("Debian"):
        pytest.skip("this ldconfig is not Debian's")
    found = make(image, f"ldconfig ({version[1]}) stable release version {version[2]}")
    subprocess.run([LDCONFIG, "-X", "-r", str(image)], check=True, capture_output=True)
    assert found == (image / "etc/ld.so.cache").read_bytes()


def test_directories_are_searched_once_and_in_order(image: Path):
    tree = tree_of(image)
    assert ldcache.directories(tree, lambda path: (image / path).read_bytes()) == (
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/opt/a/lib",
        "/lib",
    )


def test_other_machines_have_their_own_flag(tmp_path: Path):
    write(tmp_path, "usr/lib/libfoo.so.1", library("libfoo.so.1", "aarch64"))
    found = ldcache.libraries(tree_of(tmp_path), "/usr/lib", lambda path: reader.read((tmp_path / path).read_bytes()))
    assert [(row.soname, row.path, row.flags) for row in found] == [("libfoo.so.1", "/usr/lib/libfoo.so.1", 0x0A03)]


def test_generator():
    assert ldcache.generator("2.41-12+deb13u3") == "ldconfig (Debian GLIBC 2.41-12+deb13u3) stable release version 2.41"


def test_names_are_compared_by_number():
    ordered = ["lib.so", "liba.so", "liba.so.", "liba.so.2", "liba.so.10", "liba1.so"]
    for one, two in itertools.pairwise(ordered[1:]):
        assert ldcache.compare_names(one, two) < 0 < ldcache.compare_names(two, one), (one, two)
    assert ldcache.compare_names("lib1.so.01", "lib1.so.1") == 0


def test_what_is_written_can_be_read() -> None:
    flags = ldcache.flags_of("x86_64", 64)
    assert flags is not None
    rows = (
        ldcache.Library(soname="libb.so.1", path="/lib/libb.so.1", flags=flags),
        ldcache.Library(
            soname="liba.so.1", path="/lib/glibc-hwcaps/x86-64-v3/liba.so.1", flags=flags, hwcaps="x86-64-v3"
        ),
        ldcache.Library(soname="liba.so.1", path="/lib/liba.so.1", flags=flags),
    )
    data = ldcache.render(rows, ldcache.generator("2.41-12"))
    assert {(row.soname, row.path, row.hwcaps) for row in ldcache.read(data)} == {
        (row.soname, row.path, row.hwcaps) for row in rows
    }
    # Until glibc 2.32 the old format came first.
    assert ldcache.read(b"ld.so-1.7.0\0" + bytes(4) + data) == ldcache.read(data)


@pytest.mark.parametrize("cut", [0, 10, 60, 100])
def test_what_is_no_cache_is_refused(cut: int) -> None:
    rows = [ldcache.Library(soname="libb.so.1", path="/lib/libb.so.1", flags=3)]
    with pytest.raises(ValueError, match=r"cache|magic|early"):
        ldcache.read(ldcache.render(rows, ldcache.generator("2.41-12"))[:cut])
