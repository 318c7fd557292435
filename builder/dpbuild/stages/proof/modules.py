"""The modules that distributions bring: what ``import`` can name at the top level."""

import csv
import posixpath
from collections.abc import Iterator

from dpbuild.model.facts import Facts
from dpbuild.stages.contents import Contents
from dpbuild.stages.proof.owners import Distribution


def top_level(distribution: Distribution, contents: Contents, facts: Facts) -> tuple[str, ...]:
    """The top-level modules and packages of one distribution, sorted, told from its RECORD.

    A folder counts if a module lies in it, at whatever depth (PEP 420 needs no ``__init__``).
    """
    return tuple(sorted(set(_names(distribution, contents, facts.extension_suffixes))))


def _names(distribution: Distribution, contents: Contents, suffixes: tuple[str, ...]) -> Iterator[str]:
    text = (contents.get(f"{distribution.info}/RECORD") or b"").decode("utf-8", "replace")
    for row in csv.reader(text.splitlines()):
        if not row or not row[0]:
            continue
        # An installer may have written absolute paths, or such that lead out of the folder and back.
        path = posixpath.normpath(posixpath.join(distribution.site, row[0]))
        if not path.startswith(f"{distribution.site}/"):
            continue
        first, *rest = path[len(distribution.site) + 1 :].split("/")
        name = _module((rest or [first])[-1], suffixes)
        if name and not rest and name.isidentifier():
            yield name
        elif name and rest and first.isidentifier() and first != "__pycache__":
            yield first


def _module(name: str, suffixes: tuple[str, ...]) -> str:
    """The module that a file of this name is; "" if it is none."""
    for suffix in (".py", *suffixes):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return ""
