"""The matching builder: the base, and over it what compiles. Pure.

Its interpreter is the base's own, so a wheel that it makes fits; what is checked is that this is so.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from dpbuild.debian.suites import SUITES, Suite
from dpbuild.errors import TargetError
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan
from dpbuild.model.facts import Facts
from dpbuild.oci.codec import canonical

# Raise this when the same layers and packages make another builder.
VERSION: Final = 1
# What compiles, and the part of Debian's essential packages that build scripts take for granted; a base has no shell.
_TOOLS: Final = (
    *("gcc", "g++", "libc6-dev", "make", "patch", "pkgconf", "binutils"),
    *("bash", "coreutils", "dash", "debianutils", "diffutils", "findutils", "gawk", "grep", "gzip"),
    *("hostname", "libc-bin", "perl-base", "sed", "tar", "xz-utils"),
)
# What Debian's update-alternatives, or a diversion, would make beside the target: name, target.
LINKS: Final = (("sh", "dash"), ("awk", "gawk"), ("cc", "gcc"), ("c++", "g++"), ("pkg-config", "pkgconf"))
# Bookworm's packages are not all in /usr.
PROGRAMS: Final = ("bin", "usr/bin")


def digest(plan: BuilderPlan, layers: Sequence[str]) -> str:
    """The builder by content; ``layers`` are the digests of the base's layers."""
    value = [VERSION, list(layers), [list(row) for row in plan.pins], plan.image_digest, [list(row) for row in LINKS]]
    return hashlib.sha256(canonical(value)).hexdigest()


def suite_of(facts: Facts) -> Suite | None:
    """The Debian release that a base is made of, if packages of it can be had."""
    name, _, version = facts.distributor.partition(":")
    found = [suite for suite in SUITES.values() if name == "debian" and suite.version == version]
    return found[0] if found else None


def tools(base: Base, suite: Suite, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """The packages to ask for, as relations; what they depend on is not in it. Raises TargetError."""
    facts = base.facts
    minor = f"{facts.minor[0]}.{facts.minor[1]}"
    names = [*_TOOLS, *extra]
    if any(row.name == f"python{minor}-minimal" for row in facts.packages):
        names.append(f"python{minor}-dev")
    elif not base.tree.is_file(f"{facts.headers}/Python.h"):
        raise TargetError(
            f"the base has Python {facts.version}, which is not {suite.name}'s {suite.python}, and no headers of it",
            where=facts.interpreter,
            hint="name an image that has the same Python, its headers and a compiler: image of [tool.dpbuild.builder]",
        )
    return tuple(dict.fromkeys(names))


def check(base: Facts, builder: Facts) -> None:
    """That wheels made by ``builder`` fit ``base``. Raises TargetError that names both facts."""
    pairs = (
        ("Python", f"{base.minor[0]}.{base.minor[1]}", f"{builder.minor[0]}.{builder.minor[1]}"),
        ("machine", base.machine, builder.machine),
        ("SOABI", base.soabi, builder.soabi),
        ("C library", base.libc.kind, builder.libc.kind),
    )
    for word, wanted, found in pairs:
        if wanted != found:
            raise _differs(word, wanted, found)
    if builder.libc.version > base.libc.version:
        raise _differs("C library", str(base.libc), str(builder.libc), " (what it makes may want the newer one)")


def _differs(word: str, wanted: str, found: str, more: str = "") -> TargetError:
    return TargetError(
        f"the builder does not match: its {word} is {found}, the base's is {wanted}{more}",
        hint="name another image under [tool.dpbuild.builder], or none: Debian bases get a builder of their own",
    )
