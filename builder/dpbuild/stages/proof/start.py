"""What a container of the image starts: the program, the interpreter behind it, and the script or module.

Followed as the kernel and Python do: PATH, shebangs, the interpreter's options, virtual environments.
"""

import posixpath
from collections.abc import Callable
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.frozen import frozen, replace
from dpbuild.oci.config import ImageConfig
from dpbuild.stages.facts_interpreter import is_python, which
from dpbuild.stages.proof.scan import FileScan
from dpbuild.stages.proof.wrappers import is_wrapper, wrapped

# Options of the interpreter that take an argument of their own, and that end the options (python --help).
_WITH_ARGUMENT: Final = frozenset("WX")
_ENDS: Final = frozenset("cm")
# Those that take none (Python/getopt.c); P since 3.11.
_ALONE: Final = frozenset("bBdEhiIOPqRsStuvVx?")
_LONG: Final = frozenset(("--help", "--version", "--help-all", "--help-env", "--help-xoptions"))
# Linux, fs/exec.c: how deep shebangs may lead to shebangs.
_DEEPEST: Final = 5


@frozen
class Task:
    """What the interpreter is told to run: a ``script``, ``module`` or ``code``, or none, and with which ``arguments``.

    ``flags`` are the letters of the interpreter's own options, ``values`` what -X gives; ``refused`` is the first word
    with one that it does not know, or that lacks its argument, at which it ends.
    """

    script: str = ""
    module: str = ""
    code: str = ""
    flags: frozenset[str] = frozenset()
    values: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    refused: str = ""


@frozen
class Start:
    """``chain`` are the files that are executed, the program first, then what shebangs lead to; links are not
    followed in them. ``missing`` is the word or shebang's path at which it ends, "" where it does not; ``by`` the
    program that looks for that word of argv, "" for the engine itself and for words of a shebang.

    ``executable`` is the path that Python is run by, "" where it is none; ``task`` what it is told. ``prefix`` is
    the virtual environment that it runs in, or "". ``first`` is what it puts first on sys.path for that task.
    """

    argv: tuple[str, ...]
    chain: tuple[str, ...] = ()
    missing: str = ""
    by: str = ""
    executable: str = ""
    task: Task = Task()
    prefix: str = ""
    first: str = ""


def task(arguments: tuple[str, ...]) -> Task:
    """What these arguments tell the interpreter."""
    values: list[str] = []
    return replace(_task(list(arguments), values), values=tuple(values))


def _task(rest: list[str], values: list[str]) -> Task:
    """``values`` gets those of -X."""
    flags: set[str] = set()
    while rest:
        word = rest.pop(0)
        if word == "-":
            break
        if not word.startswith("-"):
            return Task(script=word, flags=frozenset(flags), arguments=tuple(rest))
        if word == "--":
            return Task(script=rest[0] if rest else "", flags=frozenset(flags), arguments=tuple(rest[1:]))
        if word.startswith("--"):
            if word == "--check-hash-based-pycs" and rest:
                rest.pop(0)
            elif word not in _LONG:
                return Task(flags=frozenset(flags), refused=word)
            continue
        for position, letter in enumerate(word[1:], 1):
            if letter not in _ALONE | _ENDS | _WITH_ARGUMENT:
                return Task(flags=frozenset(flags), refused=word)
            flags.add(letter)
            last = position == len(word) - 1
            if letter not in _ALONE and last and not rest:
                return Task(flags=frozenset(flags), refused=word)
            if letter in _ENDS:
                value = word[position + 1 :] or rest.pop(0)
                module, code = (value, "") if letter == "m" else ("", value)
                return Task(module=module, code=code, flags=frozenset(flags), arguments=tuple(rest))
            if letter in _WITH_ARGUMENT:
                value = rest.pop(0) if last else word[position + 1 :]
                values += [value] if letter == "X" else []
                break
    return Task(flags=frozenset(flags))


def start(tree: FileTree, config: ImageConfig, scan: Callable[[str], FileScan]) -> Start:
    """What a container starts."""
    argv = (*config.entrypoint, *config.cmd)
    found = _follow(tree, config, scan, argv)
    if not found.executable:
        return found
    prefix = _environment(found.executable, scan)
    return replace(found, prefix=prefix, first=_first(tree, config, found.task))


def _follow(tree: FileTree, config: ImageConfig, scan: Callable[[str], FileScan], argv: tuple[str, ...]) -> Start:
    words = list(argv)
    chain: list[str] = []
    by, scripted = "", False
    while words and len(chain) < _DEEPEST:
        path = interpreter(config, words[0]) if scripted and not by else words[0]
        found = which(tree, config, path)
        if found is None:
            return Start(argv=argv, chain=tuple(chain), missing=words[0], by="" if scripted else by)
        path = posixpath.normpath(found)
        chain.append(path)
        if is_python(tree, path) and not scan(path).shebang:
            return Start(argv=argv, chain=tuple(chain), executable=path, task=task(tuple(words[1:])))
        shebang = scan(path).shebang
        if shebang:
            words, by, scripted = [*shebang.split(None, 1), path, *words[1:]], "", True
        elif is_wrapper(path):
            words, by = wrapped(path, words[1:]) or [], path
        else:
            break
    return Start(argv=argv, chain=tuple(chain))


def interpreter(config: ImageConfig, word: str) -> str:
    """The path that the kernel looks at for the first word of a shebang: it knows no PATH."""
    return posixpath.join(config.working_dir or "/", word)


def _environment(executable: str, scan: Callable[[str], FileScan]) -> str:
    """The virtual environment of a path to Python: pyvenv.cfg beside it or one folder above (PEP 405)."""
    folder = posixpath.dirname(executable)
    above = posixpath.dirname(folder)
    return above if any(setting(scan(f"{row}/pyvenv.cfg").text, "home") for row in (folder, above)) else ""


def setting(text: str, key: str) -> str:
    """The value of a key in a pyvenv.cfg, "" if it is not there."""
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().lower() == key:
            return value.strip()
    return ""


def _first(tree: FileTree, config: ImageConfig, told: Task) -> str:
    """``sys.path[0]`` of the task, "" where options or Env keep it away (PYTHONSAFEPATH, -P, -I)."""
    if told.flags & {"P", "I"} or (config.variable("PYTHONSAFEPATH") and "E" not in told.flags):
        return ""
    here = config.working_dir or "/"
    if not told.script:
        return here
    path = posixpath.join(here, told.script)
    real = tree.resolve(path)
    if real is not None and tree.is_directory(path):
        return f"/{real}"
    return posixpath.dirname(f"/{real}" if real is not None else path)
