"""What the build of the interpreter fixed: SOABI, suffixes of extension modules, free-threaded or debug."""

import ast
import re
from typing import Any, Final

from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError
from dpbuild.stages import syntax
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import Interpreter

# CPython's own has 60 kB; parsing takes a hundred times the memory.
_SOURCE: Final = 1 << 20
_DYNLOAD: Final = re.compile(r".*\.(cpython-3\d+[a-z]*(?:-[A-Za-z0-9_-]+)?)\.so")


def build_variables(tree: FileTree, contents: Contents, python: Interpreter) -> dict[str, Any]:
    """The build's variables, of which SOABI is there for sure.

    Where the file is missing, as in some stripped bases, the names of the standard library's extension
    modules still say it.
    """
    names = [
        f"{python.stdlib}/{name}"
        for name in tree.children(python.stdlib)
        if re.fullmatch(r"_sysconfigdata_.*\.py", name)
    ]
    dynload = {
        match[1] for name in tree.children(f"{python.stdlib}/lib-dynload") if (match := _DYNLOAD.fullmatch(name))
    }
    # Debian's file has two names; a debug build's lies beside it.
    found: dict[str, dict[str, Any]] = {}
    for path in {tree.resolve(path): path for path in names}.values():
        values = _variables(contents.get(path, _SOURCE) or b"", path)
        soabi = values.get("SOABI")
        if isinstance(soabi, str) and soabi and values.get("VERSION") == python.version:
            found[soabi] = values
    if dynload and found:
        found = {soabi: values for soabi, values in found.items() if soabi in dynload}
        if not found:
            raise BaseImageError(
                f"SOABI in _sysconfigdata is not that of the extension modules ({', '.join(sorted(dynload))})",
                where=python.stdlib,
            )
    if not found and len(dynload) == 1:
        soabi = dynload.pop()
        flags = soabi.split("-")[1].lstrip("0123456789")
        return {"SOABI": soabi, "Py_GIL_DISABLED": "t" in flags, "Py_DEBUG": "d" in flags}
    if len(found) > 1:
        found = {soabi: values for soabi, values in found.items() if not values.get("Py_DEBUG")} or found
    if len(found) != 1:
        raise BaseImageError(
            "the ABI of the interpreter cannot be told: no single _sysconfigdata_*.py and no lib-dynload that"
            " would say SOABI",
            where=python.stdlib,
        )
    return next(iter(found.values()))


def _variables(data: bytes, path: str) -> dict[str, Any]:
    """``build_time_vars`` of a ``_sysconfigdata`` module, which is one literal."""
    try:
        for statement in syntax.parse(data).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                value = ast.literal_eval(statement.value)
                if statement.targets[0].id == "build_time_vars" and isinstance(value, dict):
                    return value
    except (ValueError, SyntaxError, RecursionError, MemoryError) as problem:
        raise BaseImageError(f"the build variables cannot be read: {problem}", where=path) from None
    return {}


def extension_suffixes(
    python: Interpreter, shared: bytes, build: dict[str, Any], *, free_threaded: bool
) -> tuple[str, ...]:
    """``importlib.machinery.EXTENSION_SUFFIXES``: Python/dynload_shlib.c's table, whose strings are in the program.

    From 3.15 on (PEP 803) there are two stable ABIs, and the platform may be in their names, which comes first;
    Debian had it before, but second.
    """
    own = [f".{build['SOABI']}.so"]
    if isinstance(build.get("ALT_SOABI"), str) and build["ALT_SOABI"]:
        own.append(f".{build['ALT_SOABI'].strip(chr(34))}.so")
    late = int(python.version.split(".")[1]) >= 15
    abis = ["abi3"] if not late else ["abi3t"] if free_threaded else ["abi3", "abi3t"]
    multiarch = build.get("MULTIARCH")
    rows: list[str] = []
    for abi in abis:
        names = [f".{abi}.so"]
        if isinstance(multiarch, str) and multiarch:
            names.insert(0 if late else 1, f".{abi}-{multiarch}.so")
        rows += [name for name in names if f"{name}\0".encode() in (shared or python.data)]
    return (*own, *rows, ".so")
