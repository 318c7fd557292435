"""What the standard library gives on Linux, as far as it decides which way an import goes."""

import posixpath
import re
from collections.abc import Callable
from typing import Final

from dpbuild.model.facts import Facts
from dpbuild.stages.proof.subject import Subject
from dpbuild.stages.proof.tracing.values import UNKNOWN, Known, Value

# Methods of strings that give the same everywhere.
_TEXT: Final = frozenset(
    (
        *("endswith", "format", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace"),
        *("rpartition", "rsplit", "rstrip", "split", "startswith", "strip", "title", "upper"),
    )
)
_OF_IMAGE: Final = ("/usr/", "/lib/", "/lib64/", "/opt/")
_LONGEST: Final = 1 << 12
_MOST: Final = 1 << 10
_WIDTH: Final = re.compile(r"[%{][^a-zA-Z]*[0-9]{4}")
# What an operation on values of the wrong kind may raise.
FAILURES: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def constants(facts: Facts) -> dict[str, Value]:
    """Attributes of modules."""
    micro = re.match(r"\d+", facts.version.split(".")[2])
    version = (*facts.minor, int(micro[0]) if micro else 0, "final", 0)
    return {
        "builtins.True": True,
        "builtins.False": False,
        "builtins.None": None,
        "sys.platform": "linux",
        "sys.version_info": version,
        "sys.version_info.major": version[0],
        "sys.version_info.minor": version[1],
        "sys.version_info.micro": version[2],
        "sys.hexversion": version[0] << 24 | version[1] << 16 | version[2] << 8 | 0xF0,
        "sys.byteorder": "little",
        "sys.maxsize": 2**63 - 1,
        "sys.executable": facts.interpreter,
        "sys.implementation.name": facts.implementation,
        "os.name": "posix",
        "os.sep": "/",
        "os.pathsep": ":",
        "typing.TYPE_CHECKING": False,
        "ctypes.DEFAULT_MODE": 0,
    }


def functions(subject: Subject, facts: Facts) -> dict[str, Callable[..., Value]]:
    """Functions that are called with what is known; each may raise, which makes the result unknown."""
    tree = subject.tree

    def environment(name: str, default: Value = None) -> Value:
        return default if (value := subject.config.variable(name)) is None else value

    return {
        "platform.system": lambda: "Linux",
        "platform.machine": lambda: facts.machine,
        "platform.processor": lambda: "",
        "platform.python_implementation": lambda: "CPython",
        "platform.architecture": lambda: ("64bit", "ELF"),
        "os.uname": lambda: UNKNOWN,
        "os.getenv": environment,
        "os.environ.get": environment,
        "os.path.exists": lambda path: _there(path, found=tree.resolve(_text(path)) is not None),
        "os.path.isfile": lambda path: _there(path, found=tree.is_file(_text(path))),
        "os.path.isdir": lambda path: _there(path, found=tree.is_directory(_text(path))),
        "os.path.join": lambda *parts: posixpath.join(*map(_text, parts)),
        "os.path.dirname": lambda path: posixpath.dirname(_text(path)),
        "os.path.basename": lambda path: posixpath.basename(_text(path)),
        "os.path.abspath": lambda path: posixpath.normpath(_absolute(path)),
        "os.path.realpath": lambda path: "/" + (tree.resolve(_absolute(path)) or _absolute(path)[1:]),
        "os.path.normpath": lambda path: posixpath.normpath(_text(path)),
        "os.path.splitext": lambda path: posixpath.splitext(_text(path)),
        "os.fspath": _text,
        "os.fsencode": _text,
        "builtins.bool": lambda value: bool(_plain(value)),
        "builtins.len": lambda value: len(_plain(value)),
        "builtins.str": lambda value: str(_plain(value)),
        "builtins.list": lambda value=(): list(_plain(value)),
        "builtins.tuple": lambda value=(): tuple(_plain(value)),
        "builtins.any": lambda value: any(_plain(value)),
        "builtins.all": lambda value: all(_plain(value)),
    }


def method(value: Value, name: str, arguments: list[Value], keywords: dict[str, Value]) -> Value:
    """A method of a plain value; UNKNOWN where it is not known. Raises one of ``FAILURES``."""
    every = (value, *arguments, *keywords.values())
    if isinstance(value, str) and name in _TEXT:
        # A source is not trusted: nothing in it may make a text of gigabytes.
        if all(is_small(_plain(row)) for row in every):
            return getattr(value, name)(*arguments, **keywords)
    elif isinstance(value, list) and name in ("append", "insert", "extend"):
        if len(value) < _MOST and all(not isinstance(row, list) or len(row) < _MOST for row in arguments):
            if name == "extend" and not isinstance(arguments[0], list | tuple):
                arguments = [[UNKNOWN]]
            getattr(value, name)(*arguments)
            return None
        value.clear()
        value.append(UNKNOWN)
    return UNKNOWN


def is_small(value: Value) -> bool:
    """Whether nothing large can be made of a value by one operation: neither by its length nor by a width in it."""
    if isinstance(value, list | tuple):
        return len(value) < _MOST and all(is_small(row) for row in value)
    if isinstance(value, str | bytes):
        return len(value) < _LONGEST and not (isinstance(value, str) and _WIDTH.search(value))
    return not isinstance(value, int) or abs(value) < 1 << 64


def is_of_image(path: str) -> bool:
    """Whether only the image has what is there: elsewhere are mounts, and what the engine puts into a container."""
    return path.startswith(_OF_IMAGE)


def _there(path: str, *, found: bool) -> Value:
    return found if found or is_of_image(path) else UNKNOWN


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError("not known")
    return value


def _absolute(path: Value) -> str:
    if not _text(path).startswith("/"):
        raise ValueError("relative to what the process is in")
    return str(path)


def _plain(value: Value) -> Value:
    """The value, if all of it is known."""
    if isinstance(value, list | tuple):
        for row in value:
            _plain(row)
    elif not (value is None or isinstance(value, str | bytes | bool | int | float)):
        raise TypeError("not known")
    return value


def is_plain(value: Value) -> bool:
    """Whether all of a value is known."""
    try:
        _plain(value)
    except TypeError:
        return False
    return True


def truth(value: Value) -> bool | None:
    """Whether a value is true; None where that is not known."""
    if value is UNKNOWN or isinstance(value, Known):
        return None
    if isinstance(value, list | tuple):
        # One unknown element may stand for several, or none.
        return None if any(row is UNKNOWN for row in value) else bool(value)
    return bool(value) if is_plain(value) else True
