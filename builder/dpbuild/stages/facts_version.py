"""The version of the interpreter to the patch level, and who else says which it is."""

import re
from collections.abc import Iterable
from typing import Final

from dpbuild.elf import reader, symbols
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import SystemPackage, VersionClaim
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Pairs
from dpbuild.stages.facts_interpreter import Interpreter

# What distroless writes into its manifests, and what Docker's official images set.
_ANNOTATION: Final = "com.google.distroless.python.version"
_VARIABLE: Final = "PYTHON_VERSION"
# Packages that hold the interpreter: Debian's and Ubuntu's, Wolfi's and Alpine's, those of rpm distributions.
_PACKAGE: Final = re.compile(r"(?:lib)?python-?3(?:\.\d+)?t?(?:-minimal|-stdlib|-base|-libs)?")
_UPSTREAM: Final = re.compile(r"(?:\d+:)?(3\.\d+\.\d+)(?:[~_]?((?:a|b|rc)\d+))?")


def version(python: Interpreter, shared: bytes, config: ImageConfig, annotations: Pairs) -> str:
    """The version to the patch level; ``shared`` is libpython, if there is one. Raises BaseImageError."""
    try:
        # An exported constant, PY_VERSION_HEX, since 3.11 (C API, "API and ABI Versioning").
        number = symbols.number(shared or python.data, "Py_Version")
    except reader.ElfError as problem:
        raise BaseImageError(f"the interpreter cannot be read: {problem}", where=python.path) from None
    if number is not None:
        found = {_from_hex(number)}
    else:
        found = _spelled(python, shared)
        said = {dict(annotations).get(_ANNOTATION), config.variable(_VARIABLE)}
        if len(found) != 1:
            found = {row for row in said if row and row.startswith(python.version + ".")} & (found or said)
    if len(found) != 1:
        raise BaseImageError("the patch level of the interpreter cannot be told from its files", where=python.path)
    known = str(found.pop())
    if not known.startswith(python.version + "."):
        raise BaseImageError(
            f"the interpreter is Python {known}, but its standard library is {python.stdlib}",
            where=python.path,
        )
    return known


def _spelled(python: Interpreter, shared: bytes) -> set[str]:
    """The versions that stand in the program as strings of their own.

    If there are none, those at the end of a longer string: linkers let a string share the tail of another.
    """
    found: set[str] = set()
    for before in (rb"\0", rb"(?<![0-9.])"):
        form = re.escape(python.version.encode()) + rb"\.\d{1,3}(?:(?:a|b|rc)\d+)?"
        text = re.compile(before + rb"(" + form + rb")\+?(?=\0)")
        found = {match[1].decode() for data in (shared, python.data) for match in text.finditer(data)}
        if found:
            break
    return found


def _from_hex(number: int) -> str:
    """PY_VERSION_HEX as text: ``0x030d05f0`` is ``3.13.5``."""
    level = {0xA: "a", 0xB: "b", 0xC: "rc"}.get(number >> 4 & 0xF)
    text = f"{number >> 24 & 0xFF}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}"
    return text if level is None else f"{text}{level}{number & 0xF}"


def claims(
    known: str, python: Interpreter, config: ImageConfig, annotations: Pairs, packages: Iterable[SystemPackage]
) -> tuple[VersionClaim, ...]:
    """What the manifest, the environment and the packages say of the version, beside ``known``.

    Packages count only where distributors install: with an interpreter in ``/usr/local`` or ``/opt``, a package
    of the same name is another Python.
    """
    found = []
    for source, said in (
        (f"annotation {_ANNOTATION}", dict(annotations).get(_ANNOTATION)),
        (f"variable {_VARIABLE}", config.variable(_VARIABLE)),
    ):
        if said:
            found.append(VersionClaim(source=source, version=said, agrees=said == known))
    if python.prefix not in ("/usr", ""):
        return tuple(found)
    for package in packages:
        match = _UPSTREAM.match(package.version)
        if not _PACKAGE.fullmatch(package.name) or match is None or not match[1].startswith(python.version + "."):
            continue
        agrees = match[1] + (match[2] or "") == known.rstrip("+")
        found.append(VersionClaim(source=f"package {package.name}", version=package.version, agrees=agrees))
    return tuple(found)
