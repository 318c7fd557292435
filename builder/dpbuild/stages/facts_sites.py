"""Where the interpreter imports from besides its standard library, and where wheels go."""

import posixpath
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.frozen import frozen
from dpbuild.model.facts import VirtualEnvironment
from dpbuild.oci.config import ImageConfig
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import Interpreter

_SOURCE: Final = 1 << 20
_SETTINGS: Final = 1 << 20


@frozen
class Sites:
    """``purelib`` and ``data`` are where wheels go, ``directories`` all folders that ``site`` adds, in its order."""

    purelib: str
    data: str
    directories: tuple[str, ...]
    path_file: str
    environment: VirtualEnvironment | None


def likely(path: str) -> bool:
    """Whether ``sites`` may read this file."""
    return path.endswith(("/pyvenv.cfg", "._pth"))


def sites(
    tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter, shared: bytes, platlibdir: str
) -> Sites:
    """``shared`` is libpython, if there is one; ``platlibdir`` as ``sys.platlibdir``."""
    name = f"python{python.version}{python.threads}"
    path_file = _path_file(tree, python)
    # With a ``._pth``, the folder that it is in is the prefix.
    prefix = posixpath.dirname(path_file) if path_file else python.prefix
    data = prefix or "/"
    purelib = f"{prefix}/lib/{name}/site-packages"
    libraries = dict.fromkeys((platlibdir, "lib"))
    rows = [f"{prefix}/{library}/{name}/site-packages" for library in libraries]
    if _site_says(contents, python, shared, b"dist-packages"):
        # Debian's site.
        data = f"{prefix}/local"
        purelib = f"{data}/lib/{name}/dist-packages"
        rows = [purelib, f"{prefix}/lib/python3/dist-packages", f"{prefix}/lib/{name}/dist-packages"]
    elif _site_says(contents, python, shared, b"RPM_BUILD_ROOT") and not config.variable("PYTHONNOUSERSITE"):
        # Fedora's and Red Hat's site: /usr/local comes first, but only while there is a user site.
        rows = [f"/usr/local/{library}/{name}/site-packages" for library in libraries] + rows
    if path_file:
        listed, imports_site = _listed(contents, path_file)
        if not imports_site:
            rows = [row for row in listed if row not in (python.stdlib, f"{python.stdlib}/lib-dynload")]
    return Sites(
        purelib=purelib,
        data=data,
        directories=tuple(dict.fromkeys(rows)),
        path_file=path_file,
        environment=_environment(tree, contents, python, name, tuple(libraries)),
    )


def _site_says(contents: Contents, python: Interpreter, shared: bytes, word: bytes) -> bool:
    """Whether ``site`` holds this word; the module is frozen into the program since 3.11."""
    if int(python.version.split(".")[1]) >= 11:
        return word in python.data or word in shared
    return word in (contents.get(f"{python.stdlib}/site.py", _SOURCE) or b"")


def _path_file(tree: FileTree, python: Interpreter) -> str:
    """The ``._pth`` that Modules/getpath.py honours beside the program since 3.11, or ""."""
    if int(python.version.split(".")[1]) >= 11:
        for path in (python.started, python.path):
            if tree.is_file(f"{path}._pth"):
                return f"{path}._pth"
    return ""


def _listed(contents: Contents, path: str) -> tuple[list[str], bool]:
    """The folders that a ``._pth`` names, and whether it asks for ``site``."""
    rows, imports_site = [], False
    for line in _lines(contents, path):
        text = line.partition("#")[0].strip()
        if text == "import site":
            imports_site = True
        elif text and not text.startswith("import "):
            rows.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), text)))
    return rows, imports_site


def _lines(contents: Contents, path: str) -> list[str]:
    return (contents.get(path, _SETTINGS) or b"").decode("utf-8", "replace").splitlines()


def _environment(
    tree: FileTree, contents: Contents, python: Interpreter, name: str, libraries: tuple[str, ...]
) -> VirtualEnvironment | None:
    """What ``pyvenv.cfg`` beside the program, or in the folder above, makes of it (PEP 405)."""
    beside = posixpath.dirname(python.started)
    for folder in (beside, posixpath.dirname(beside)):
        path = f"{folder.rstrip('/')}/pyvenv.cfg"
        if not tree.is_file(path):
            continue
        values = {}
        for line in _lines(contents, path):
            key, equals, value = line.partition("=")
            if equals:
                values[key.strip().lower()] = value.strip()
        # ``site`` makes the folder above the program the prefix, wherever the file is, and asks for nothing in it.
        prefix = posixpath.dirname(beside).rstrip("/")
        if prefix == python.prefix:
            return None
        return VirtualEnvironment(
            prefix=prefix or "/",
            site_directories=tuple(f"{prefix}/{library}/{name}/site-packages" for library in libraries),
            system_site_packages=values.get("include-system-site-packages", "true").lower() == "true",
        )
    return None
