"""What a wheel that was built here wants of the system, read from its ELF files; and the tag that says so. Pure."""

import posixpath
from collections.abc import Mapping
from typing import Final

from dpbuild.elf import reader
from dpbuild.elf.facts import ElfFacts, newest
from dpbuild.errors import SdistBuildFailed
from dpbuild.frozen import frozen
from dpbuild.model.facts import Facts
from dpbuild.pypa.tags import MACHINES

# The libraries that make up glibc, and the compiler's own run time: what PEP 600's policies all allow.
GLIBC: Final = frozenset(
    f"{name}"
    for name in (
        *("libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1"),
        *("libresolv.so.2", "libnsl.so.1", "libanl.so.1", "libmvec.so.1"),
        *("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "ld-linux-armhf.so.3", "ld64.so.2", "ld64.so.1"),
    )
)
_COMPILER: Final = frozenset({"libgcc_s.so.1", "libstdc++.so.6"})
# The oldest glibc that manylinux wheels are still made for.
OLDEST: Final = 17


@frozen
class Demands:
    """``libraries`` are sonames that lie outside of the wheel, with a file that needs each; ``glibc`` the newest
    symbol version wanted, (0, 0) for none. ``native`` says that there is compiled code.
    """

    native: bool = False
    glibc: tuple[int, int] = (0, 0)
    libraries: tuple[tuple[str, str], ...] = ()

    @property
    def sonames(self) -> frozenset[str]:
        """The libraries alone."""
        return frozenset(name for name, _ in self.libraries)


def demands(label: str, files: Mapping[str, bytes], facts: Facts) -> Demands:
    """What the compiled files of a wheel want. Raises SdistBuildFailed for files of another machine or libc."""
    found: dict[str, ElfFacts] = {}
    for name, data in files.items():
        if not reader.is_elf(data):
            continue
        try:
            row = reader.read(data)
        except reader.ElfError as problem:
            raise SdistBuildFailed(f"{label}: {name} cannot be read: {problem}") from None
        if row.type == "relocatable":
            continue  # an object file or a static library's member is not loaded
        if row.machine != facts.machine:
            raise SdistBuildFailed(f"{label}: {name} is for {row.machine}, and the base for {facts.machine}")
        found[name] = row
    inside = {posixpath.basename(name) for name in found} | {row.soname for row in found.values() if row.soname}
    libraries: dict[str, str] = {}
    glibc = (0, 0)
    for name, row in found.items():
        for soname in row.needed:
            if soname not in inside:
                libraries.setdefault(soname, name)
        for library, versions in row.verneed:
            wanted = newest(versions, "GLIBC_") if library in GLIBC else None
            if wanted and len(wanted) > 1:
                glibc = max(glibc, (wanted[0], wanted[1]))
    if facts.libc.kind == "glibc" and glibc > facts.libc.version:
        raise SdistBuildFailed(f"{label} wants glibc {glibc[0]}.{glibc[1]}, and the base has {facts.libc}")
    return Demands(native=bool(found), glibc=glibc, libraries=tuple(sorted(libraries.items())))


def platform_tag(found: Demands, facts: Facts) -> str:
    """The platform tag that claims no more than is so; "any" without compiled code.

    A wheel that needs libraries beside glibc and the compiler's is no manylinux wheel (PEP 600). One that needs
    libstdc++ is said to want the base's own glibc: which libstdc++ comes with an older one is not known here.
    """
    if not found.native:
        return "any"
    machine = facts.machine
    if machine not in MACHINES or facts.libc.kind != "glibc" or found.sonames - GLIBC - _COMPILER:
        return f"linux_{machine}"
    minor = facts.libc.version[1] if found.sonames & _COMPILER else max(OLDEST, found.glibc[1])
    return f"manylinux_2_{minor}_{machine}"
