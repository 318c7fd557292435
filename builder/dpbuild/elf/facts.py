"""The facts of one ELF file."""

from typing import Literal

from dpbuild.frozen import frozen

# (library, symbol versions), both as the dynamic section names them.
Versions = tuple[tuple[str, tuple[str, ...]], ...]


@frozen
class ElfFacts:
    """What the dynamic loader would see.

    ``machine`` is the word of ``uname -m`` where there is one (``x86_64``, ``aarch64``, ``arm``, ``ppc64le``,
    ``s390x``, ``riscv64``, ``i686``), else ``em<number>``; ``bits`` is 32 or 64; ``flags`` is ``e_flags``.
    ``interp`` is the path of the loader that the file asks for, "" where it asks for none. ``needed``,
    ``rpath`` and ``runpath`` are in the file's order; the paths are split at colons and may hold ``$ORIGIN``.
    ``verneed`` are the symbol versions wanted of each library, in the file's order; ``verneed_weak`` those of
    them that the loader only warns about. ``verdef`` are the versions that the file defines, without the base
    version, which is the file's own name. ``dynamic`` is False for static programs and object files.
    """

    machine: str
    bits: Literal[32, 64]
    endianness: Literal["little", "big"]
    type: Literal["relocatable", "executable", "shared", "core", "other"]
    flags: int = 0
    interp: str = ""
    dynamic: bool = False
    pie: bool = False
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    verneed: Versions = ()
    verneed_weak: Versions = ()
    verdef: tuple[str, ...] = ()
    build_id: str = ""

    def newest(self, prefix: str) -> tuple[int, ...] | None:
        """The highest version defined with this prefix: ``newest("GLIBC_")`` may be ``(2, 36)``.

        Versions that are no dotted numbers (``GLIBC_PRIVATE``) do not count. None if there is none.
        """
        return newest(self.verdef, prefix)


def newest(versions: tuple[str, ...], prefix: str) -> tuple[int, ...] | None:
    """The highest of ``versions`` with this prefix and nothing but dotted numbers behind it."""
    found = []
    for text in versions:
        parts = text.removeprefix(prefix).split(".") if text.startswith(prefix) else [""]
        if all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            found.append(tuple(int(part) for part in parts))
    return max(found, default=None)
