"""From facts to a target: which tags fit, and what markers are evaluated with. Pure."""

import re

from dpbuild.errors import TargetError
from dpbuild.model.facts import Facts
from dpbuild.model.target import Target
from dpbuild.oci.platform import Platform
from dpbuild.pypa import markers, tags

# What a machine is called in images (GOARCH and variant; "" is any), by the kernel's word.
_ARCHITECTURE = {
    "x86_64": ("amd64",),
    "aarch64": ("arm64",),
    "armv8l": ("arm",),
    "armv7l": ("arm",),
    "i686": ("386",),
    "ppc64le": ("ppc64le",),
    "s390x": ("s390x",),
    "riscv64": ("riscv64",),
    "loongarch64": ("loong64",),
}
_SPELLINGS = {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "i486": "i686", "i586": "i686"}
# The first Python whose ABI tag has no "m", and the oldest that wheels are still made for.
_OLDEST = (3, 8)
# uv's words for --python-platform: these minor versions of glibc, for these machines.
_UV_GLIBC = (17, 28, *range(31, 41))
_UV_GLIBC_MACHINES = ("x86_64", "aarch64")


def target(facts: Facts, platform: Platform) -> Target:
    """The target that ``facts`` describe. Raises TargetError, naming the fact that gives none."""
    where = facts.interpreter
    if facts.implementation.lower() != "cpython":
        raise TargetError(f"the interpreter is {facts.implementation}; only CPython is supported", where=where)
    if not re.fullmatch(r"3\.\d+\.\d+(?:(?:a|b|rc)\d+|\+)?", facts.version):
        raise TargetError(f"the interpreter's version {facts.version!r} is not one of CPython 3", where=where)
    if facts.minor < _OLDEST:
        raise TargetError(f"Python {facts.version} is too old; the oldest supported is 3.8", where=where)
    machine = _SPELLINGS.get(facts.machine.lower(), facts.machine.lower())
    if machine not in tags.MACHINES:
        raise TargetError(f"no wheels are known for the machine {facts.machine!r}", where=where)
    if platform.os != "linux":
        raise TargetError(f"the image is for {platform.os}; only Linux is supported", where=where)
    if platform.architecture not in _ARCHITECTURE[machine]:
        raise TargetError(
            f"the interpreter is for {facts.machine}, but the image says {platform.architecture}", where=where
        )
    _check_soabi(facts, where)
    if facts.path_file and facts.purelib not in facts.site_directories:
        raise TargetError(
            "a file beside the interpreter replaces sys.path and leaves no site directory to install into",
            where=facts.path_file,
            hint="add the line 'import site' to it, or choose another base",
        )
    libc = facts.libc
    if libc.version[0] != (2 if libc.kind == "glibc" else 1):
        raise TargetError(f"no wheels are known for {libc}", where=libc.loader)
    version = facts.version.rstrip("+")
    found = tags.platforms(libc.kind, libc.version, machine)
    return Target(
        platform=platform,
        python_version=version,
        tags=tags.cpython(facts.minor, found, gil_disabled=facts.gil_disabled, debug=facts.debug),
        markers=markers.environment(version, machine),
        uv_platform=_uv_platform(libc.kind, libc.version[1], machine),
    )


def _check_soabi(facts: Facts, where: str) -> None:
    """SOABI (PEP 3149) says the same as version, gil_disabled and debug, or the facts contradict each other."""
    number = "".join(str(part) for part in facts.minor)
    flags = ("t" if facts.gil_disabled else "") + ("d" if facts.debug else "")
    wanted = f"cpython-{number}{flags}"
    if facts.soabi and facts.soabi.split("-linux", maxsplit=1)[0].rpartition("-")[0] not in ("", wanted):
        raise TargetError(f"the interpreter's SOABI is {facts.soabi}, but the other facts say {wanted}", where=where)


def _uv_platform(libc: str, minor: int, machine: str) -> str:
    if libc == "musl":
        return f"{machine}-unknown-linux-musl" if machine in _UV_GLIBC_MACHINES else ""
    if machine == "riscv64":
        return "riscv64-unknown-linux"
    if machine not in _UV_GLIBC_MACHINES:
        return ""
    # A word for more than the base has would choose wheels that do not load: take the next lower one.
    known = [row for row in _UV_GLIBC if row <= minor] or [_UV_GLIBC[0]]
    return f"{machine}-manylinux_2_{known[-1]}"
