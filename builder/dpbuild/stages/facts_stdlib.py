"""Which modules of the standard library an image lacks: many bases leave some out."""

import pkgutil
import re
from functools import cache
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.stages.facts_interpreter import Interpreter

# In the program without an init function of that name, or frozen into it (Python/frozen.c since 3.11).
_ALWAYS: Final = frozenset(
    {"sys", "builtins", "marshal", "_warnings", "_frozen_importlib", "_frozen_importlib_external", "zipimport"}
)
_FROZEN: Final = frozenset(
    {"abc", "codecs", "io", "_collections_abc", "_sitebuiltins", "genericpath", "ntpath", "posixpath"}
    | {"os", "site", "stat", "runpy"}
)
# Functions that initialise modules are exported, so that their names are strings in the program.
_INIT: Final = re.compile(rb"\0PyInit_([A-Za-z0-9_]+)(?=\0)")


@cache
def expected(minor: int) -> frozenset[str] | None:
    """The top-level modules that the standard library of Python 3.``minor`` has on Linux; None if unknown."""
    found: set[str] = set()
    # importlib.resources takes a third of the time that all rules of the proof take to import.
    data = pkgutil.get_data("dpbuild.stages", "stdlib_modules.txt") or b""
    for line in data.decode().splitlines():
        if line.startswith("#"):
            continue
        span, _, names = line.partition(":")
        first, _, last = span.partition("-")
        if int(first) <= minor <= int(last):
            found.update(names.split())
    return frozenset(found) or None


def missing(
    tree: FileTree, python: Interpreter, shared: bytes, suffixes: tuple[str, ...], folders: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The modules that neither the program has nor any of its folders; None if that cannot be told.

    ``shared`` is libpython, if there is one; ``folders`` are those of ``site``, where distributors put parts too.
    """
    names = expected(int(python.version.split(".")[1]))
    built_in = {match[1].decode() for match in _INIT.finditer(shared or python.data)}
    if names is None or "posix" not in built_in:
        return None
    there = built_in | _ALWAYS | (_FROZEN if int(python.version.split(".")[1]) >= 11 else frozenset())
    endings = (*suffixes, ".py", ".pyc")
    for folder in (python.stdlib, f"{python.stdlib}/lib-dynload", *folders):
        children = set(tree.children(folder))
        for name in names - there:
            if any(f"{name}{ending}" in children for ending in endings) or (
                name in children and _is_package(tree, f"{folder}/{name}", endings)
            ):
                there.add(name)
    return tuple(sorted(names - there))


def _is_package(tree: FileTree, path: str, endings: tuple[str, ...]) -> bool:
    return any(tree.is_file(f"{path}/__init__{ending}") for ending in endings)
