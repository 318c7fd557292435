"""Finding the interpreter and its standard library in an image, by what is in the files."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.elf import reader
from dpbuild.elf.facts import ElfFacts
from dpbuild.errors import BaseImageError
from dpbuild.frozen import frozen
from dpbuild.oci.config import ImageConfig
from dpbuild.stages.contents import Contents

# What engines take where the config has no PATH (moby, "DefaultPathEnvUnix").
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAME: Final = re.compile(r"python(?:3(?:\.\d+)?)?t?d?")
_VERSIONED: Final = re.compile(r"python(3\.\d+)(t?)d?")
_STDLIB: Final = re.compile(r"python(3\.\d+)(t?)")
_SCRIPT: Final = 1 << 20


@frozen
class Interpreter:
    """``path`` is real and absolute; ``prefix`` is what ``sys.prefix`` will say; ``version`` is ``3.13``.

    ``started`` is the absolute path that it was found by, before links: what ``sys.executable`` will say.
    """

    path: str
    started: str
    data: bytes
    elf: ElfFacts
    prefix: str
    stdlib: str
    version: str
    threads: str


def find(tree: FileTree, contents: Contents, config: ImageConfig) -> Interpreter:
    """The interpreter that the image starts, or the one that a search finds. Raises BaseImageError."""
    for path in _candidates(tree, contents, config):
        data = contents.get(path)
        if data is None or not reader.is_elf(data):
            continue
        real = "/" + (tree.resolve(path) or "")
        try:
            elf = reader.read(data)
        except reader.ElfError as problem:
            raise BaseImageError(f"the interpreter cannot be read: {problem}", where=real) from None
        prefix, stdlib, version, threads = _standard_library(tree, real, config)
        return Interpreter(
            path=real,
            started=posixpath.normpath(path),
            data=data,
            elf=elf,
            prefix=prefix,
            stdlib=stdlib,
            version=version,
            threads=threads,
        )
    started = " ".join((*config.entrypoint, *config.cmd)) or "nothing"
    raise BaseImageError(
        f"there is no Python in the base: it starts {started!r}, its PATH ({search_path(config)}) has no python3"
        " or python, and there is no bin/python3.* under /usr, /usr/local or /opt/*",
        hint="choose a base with Python in it, such as gcr.io/distroless/python3-debian13",
    )


def search_path(config: ImageConfig) -> str:
    """PATH as a container has it."""
    return config.variable("PATH") or DEFAULT_PATH


def which(tree: FileTree, config: ImageConfig, word: str) -> str | None:
    """What an engine would run for this word: an absolute path to an executable file, or None."""
    if "/" in word:
        path = word if word.startswith("/") else f"{config.working_dir or '/'}/{word}"
        return path if is_executable(tree, path) else None
    for folder in search_path(config).split(":"):
        path = f"{folder}/{word}"
        if folder.startswith("/") and is_executable(tree, path):
            return path
    return None


def is_executable(tree: FileTree, path: str) -> bool:
    """Whether ``path`` leads to a file that somebody may execute."""
    entry = tree.follow(path)
    return entry is not None and tree.is_file(path) and bool(entry.mode & 0o111)


def is_python(tree: FileTree, path: str) -> bool:
    """Whether ``path``, or what it leads to, is named like an interpreter."""
    names = (path.rpartition("/")[2], (tree.resolve(path) or "").rpartition("/")[2])
    return any(_NAME.fullmatch(name) for name in names)


def _candidates(tree: FileTree, contents: Contents, config: ImageConfig) -> Iterator[str]:
    """Paths that may be the interpreter, the likeliest first."""
    for word in (*config.entrypoint, *config.cmd):
        path = which(tree, config, word)
        for _ in range(3):
            if path is None:
                break
            if is_python(tree, path):
                yield path
                break
            # A console script says by its first line what runs it.
            path = _shebang(tree, contents, config, path)
    for word in ("python3", "python"):
        path = which(tree, config, word)
        if path is not None:
            yield path
    yield from _search(tree)


def _shebang(tree: FileTree, contents: Contents, config: ImageConfig, path: str) -> str | None:
    entry = tree.follow(path)
    if entry is None or entry.size > _SCRIPT:
        return None
    data = contents.get(path) or b""
    line = data[:256].split(b"\n")[0].decode("utf-8", "replace")
    words = line.removeprefix("#!").split()
    if not line.startswith("#!") or not words:
        return None
    if words[0].rpartition("/")[2] == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return which(tree, config, words[0]) if words else None


def _search(tree: FileTree) -> Iterator[str]:
    """``bin/python3.*`` where Pythons are put; with several different ones there is no telling which is meant."""
    prefixes = ["/usr/local", "/usr", *(f"/opt/{name}" for name in tree.children("/opt")), ""]
    found: dict[str, str] = {}
    for prefix in prefixes:
        for name in tree.children(f"{prefix}/bin"):
            path = f"{prefix}/bin/{name}"
            if _VERSIONED.fullmatch(name) and is_executable(tree, path):
                found.setdefault(tree.resolve(path) or path, path)
    if len(found) > 1:
        raise BaseImageError(
            f"the base has several Pythons and starts none of them: {', '.join(sorted(found.values()))}",
            hint="choose a base whose entrypoint or PATH names one",
        )
    yield from found.values()


def _standard_library(tree: FileTree, real: str, config: ImageConfig) -> tuple[str, str, str, str]:
    """Prefix, standard library, version and "t" for a free-threaded one.

    As Modules/getpath.py does: upwards from the interpreter to the first folder with ``lib/pythonX.Y/os.py``;
    PYTHONHOME comes before, the prefixes that Pythons are built with after.
    """
    home = (config.variable("PYTHONHOME") or "").split(":")[0]
    places = [home] if home else []
    folder = real.rpartition("/")[0]
    while folder:
        places.append(folder)
        folder = folder.rpartition("/")[0]
    places += ["", "/usr", "/usr/local"]
    own = _VERSIONED.fullmatch(real.rpartition("/")[2])
    for prefix in places:
        found = []
        for library in ("lib", "lib64", "lib32"):
            for name in tree.children(f"{prefix}/{library}"):
                match = _STDLIB.fullmatch(name)
                path = f"{prefix}/{library}/{name}"
                if match and (tree.is_file(f"{path}/os.py") or tree.is_file(f"{path}/os.pyc")):
                    found.append((prefix, path, match[1], match[2]))
        if own:
            found = [row for row in found if row[2:] == (own[1], own[2])]
        # lib64 may be a link to lib.
        different = {tree.resolve(row[1]): row for row in reversed(found)}
        if len(different) > 1:
            names = ", ".join(sorted(row[1] for row in different.values()))
            raise BaseImageError(f"it cannot be told which standard library the interpreter uses: {names}", where=real)
        if found:
            return found[0]
    raise BaseImageError("the interpreter has no standard library: no lib/python3.*/os.py above it", where=real)
