"""The tags of a foreign target, best first (PyPA specs, "Platform compatibility tags").

``packaging`` computes interpreters and ABIs; the list of platforms is ours, because it has no public
function for a libc other than the host's. Nothing here asks the host for anything.
"""

from collections.abc import Iterator
from typing import Literal

# PEP 600 and its predecessors: the glibc that each old name stands for.
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
# PEP 600 and PEP 513: x86 starts at glibc 2.5, every other machine at 2.17.
_OLDEST_X86 = 5
_OLDEST = 17

# Machines that manylinux and musllinux wheels exist for, with the machines whose wheels they run, best first.
MACHINES = {
    "x86_64": ("x86_64",),
    "aarch64": ("aarch64",),
    "armv8l": ("armv8l", "armv7l"),
    "armv7l": ("armv7l",),
    "i686": ("i686",),
    "ppc64le": ("ppc64le",),
    "s390x": ("s390x",),
    "riscv64": ("riscv64",),
    "loongarch64": ("loongarch64",),
}


def manylinux(version: tuple[int, int], machine: str) -> Iterator[str]:
    """The platforms of glibc ``version`` on ``machine`` (a key of ``MACHINES``), newest first."""
    oldest = _OLDEST_X86 if machine in ("x86_64", "i686") else _OLDEST
    for word in MACHINES[machine]:
        for minor in range(version[1], oldest - 1, -1):
            yield f"manylinux_2_{minor}_{word}"
            if legacy := _LEGACY.get((2, minor)):
                yield f"{legacy}_{word}"


def musllinux(version: tuple[int, int], machine: str) -> Iterator[str]:
    """The platforms of musl ``version`` on ``machine`` (PEP 656), newest first."""
    for word in MACHINES[machine]:
        for minor in range(version[1], -1, -1):
            yield f"musllinux_{version[0]}_{minor}_{word}"


def platforms(libc: Literal["glibc", "musl"], version: tuple[int, int], machine: str) -> tuple[str, ...]:
    """All platform tags, best first: ``linux_<machine>`` stands for what was built on the very machine."""
    named = manylinux(version, machine) if libc == "glibc" else musllinux(version, machine)
    return (*(f"linux_{word}" for word in MACHINES[machine]), *named)


def cpython(
    minor: tuple[int, int], platform_tags: tuple[str, ...], *, gil_disabled: bool = False, debug: bool = False
) -> tuple[str, ...]:
    """Every tag that a CPython of this minor version accepts, as ``interpreter-abi-platform``, best first."""
    from packaging import tags

    number = f"{minor[0]}{minor[1]}"
    threading = "t" if gil_disabled else ""
    abis = [f"cp{number}{threading}"]
    if debug:
        abis.insert(0, f"cp{number}{threading}d")
    rows = [
        *tags.cpython_tags(minor, abis, platform_tags),
        *tags.compatible_tags(minor, f"cp{number}", platform_tags),
    ]
    return tuple(dict.fromkeys(str(row) for row in rows))
