"""From the files of a base to its facts; nothing is run, and what cannot be told is an error that says so."""

import ast
import hashlib
import re
from typing import Any, Final

from dpbuild.archive.overlay import FileTree
from dpbuild.elf import reader, symbols
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import Facts
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.platform import Platform
from dpbuild.stages import facts_interpreter, facts_libraries, facts_packages
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import Interpreter

# What distroless writes into its manifests, and what Docker's official images set.
_ANNOTATION: Final = "com.google.distroless.python.version"
_VARIABLE: Final = "PYTHON_VERSION"
_SOURCE: Final = 8 << 20
_LIKELY: Final = re.compile(r"(?:.*/)?(?:bin/python[0-9.]*t?|lib[^/]*/python3\.\d+t?/(?:_sysconfigdata_.*|site)\.py)")
_DYNLOAD: Final = re.compile(r".*\.(cpython-3\d+[a-z]*(?:-[A-Za-z0-9_-]+)?)\.so")
# GOARCH words and what the kernel calls the machine; for 32-bit arm the variant decides.
_MACHINES: Final = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "arm": "arm",
    "386": "i686",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loong64": "loongarch64",
}


def read_facts(
    tree: FileTree, contents: Contents, config: ImageConfig, platform: Platform, annotations: Pairs = ()
) -> Facts:
    """The facts of the image with these files. Raises BaseImageError."""
    contents.prefetch(
        [
            *(path for path in tree.paths() if _LIKELY.fullmatch(path)),
            *facts_libraries.likely(tree),
            *facts_packages.likely(tree),
        ]
    )
    python = facts_interpreter.find(tree, contents, config)
    _check_machine(python, platform)
    shared = _libpython(tree, contents, config, python)
    build = _sysconfig(tree, contents, python)
    free_threaded = bool(build.get("Py_GIL_DISABLED")) or bool(python.threads)
    libc = facts_libraries.libc(tree, contents, config, python)
    debian = _is_debian(contents, python, shared)
    purelib, sites = _sites(python, debian=debian, platlibdir=str(build.get("PLATLIBDIR") or "lib"))
    soabi = str(build["SOABI"])
    machine = python.elf.machine
    return Facts(
        interpreter=python.path,
        interpreter_sha256=hashlib.sha256(python.data).hexdigest(),
        version=_version(python, shared, config, annotations),
        implementation=soabi.partition("-")[0],
        soabi=soabi,
        extension_suffixes=_suffixes(python, shared, build, free_threaded=free_threaded),
        gil_disabled=free_threaded,
        debug=bool(build.get("Py_DEBUG")),
        machine={"v6": "armv6l"}.get(platform.variant, "armv7l") if machine == "arm" else machine,
        libc=libc,
        glibcxx=facts_libraries.glibcxx(tree, contents, config, python),
        stdlib=python.stdlib,
        purelib=purelib,
        scripts="/usr/local/bin",
        data=f"{python.prefix}/local" if debian else python.prefix or "/",
        headers=f"{python.prefix}/include/python{python.version}{python.threads}",
        site_directories=sites,
        distributor=facts_packages.distributor(contents),
        packages=facts_packages.packages(tree, contents),
    )


def _check_machine(python: Interpreter, platform: Platform) -> None:
    wanted = _MACHINES.get(platform.architecture)
    if platform.os != "linux" or wanted is None:
        raise BaseImageError(f"images for {platform} are not supported")
    if python.elf.machine != wanted:
        raise BaseImageError(
            f"the image says it is for {platform}, but its interpreter is for {python.elf.machine}",
            where=python.path,
        )


def _libpython(tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter) -> bytes:
    """The bytes of the library that the interpreter is in, or none if it is in the program itself."""
    for name in python.elf.needed:
        if name.startswith("libpython"):
            found = facts_libraries.library(tree, contents, config, python, name)
            if found is None:
                raise BaseImageError(f"the interpreter needs {name}, which the base does not have", where=python.path)
            return found[1]
    return b""


def _version(python: Interpreter, shared: bytes, config: ImageConfig, annotations: Pairs) -> str:
    """The version to the patch level."""
    try:
        # An exported constant, PY_VERSION_HEX, since 3.11 (C API, "API and ABI Versioning").
        number = symbols.number(shared or python.data, "Py_Version")
    except reader.ElfError as problem:
        raise BaseImageError(f"the interpreter cannot be read: {problem}", where=python.path) from None
    if number is not None:
        version = _from_hex(number)
        found = {version}
    else:
        found = _spelled(python, shared)
        said = {dict(annotations).get(_ANNOTATION), config.variable(_VARIABLE)}
        if len(found) != 1:
            found = {row for row in said if row and row.startswith(python.version + ".")} & (found or said)
    if len(found) != 1:
        raise BaseImageError("the patch level of the interpreter cannot be told from its files", where=python.path)
    version = str(found.pop())
    if not version.startswith(python.version + "."):
        raise BaseImageError(
            f"the interpreter is Python {version}, but its standard library is {python.stdlib}",
            where=python.path,
        )
    return version


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


def _sysconfig(tree: FileTree, contents: Contents, python: Interpreter) -> dict[str, Any]:
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
        for statement in ast.parse(data).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                value = ast.literal_eval(statement.value)
                if statement.targets[0].id == "build_time_vars" and isinstance(value, dict):
                    return value
    except (ValueError, SyntaxError, RecursionError, MemoryError) as problem:
        raise BaseImageError(f"the build variables cannot be read: {problem}", where=path) from None
    return {}


def _suffixes(python: Interpreter, shared: bytes, build: dict[str, Any], *, free_threaded: bool) -> tuple[str, ...]:
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


def _is_debian(contents: Contents, python: Interpreter, shared: bytes) -> bool:
    """Whether ``site`` is Debian's, with dist-packages below local; the module is frozen into Python since 3.11."""
    word = b"dist-packages"
    if int(python.version.split(".")[1]) >= 11:
        return word in python.data or word in shared
    return word in (contents.get(f"{python.stdlib}/site.py", _SOURCE) or b"")


def _sites(python: Interpreter, *, debian: bool, platlibdir: str) -> tuple[str, tuple[str, ...]]:
    """Where wheels go, and all folders that ``site`` adds, in its order."""
    prefix, name = python.prefix, f"python{python.version}{python.threads}"
    if debian:
        own = f"{prefix}/local/lib/{name}/dist-packages"
        return own, (own, f"{prefix}/lib/python3/dist-packages", f"{prefix}/lib/{name}/dist-packages")
    folders = dict.fromkeys((f"{prefix}/{platlibdir}/{name}/site-packages", f"{prefix}/lib/{name}/site-packages"))
    return f"{prefix}/lib/{name}/site-packages", tuple(folders)
