"""What a Python source does that matters on distroless, told from its syntax tree; nothing is run.

Installed packages hold thousands of sources, and nearly none does anything of the kind: a search for a few words
comes before parsing.
"""

import ast
import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.stages import syntax
from dpbuild.stages.proof import flow


@frozen
class Use:
    """One use of something, and the line that it is on (from 1).

    ``kind`` says what ``name`` is:

    - ``import``: a top-level module that is imported absolutely;
    - ``find_library``: what ``ctypes.util.find_library`` looks for;
    - ``load_library``: what ``CDLL``, ``LoadLibrary`` or cffi's ``dlopen`` loads; of both kinds "" if it is computed;
    - ``shell``: the function that starts a shell;
    - ``program``: the program that ``subprocess`` starts;
    - ``module``: what it tells a Python to run with ``-m``, with the words behind it;
    - ``zone``: a key for ``ZoneInfo``;
    - ``locale``: a locale for ``setlocale``.

    ``top`` says that importing the module does it, ``guarded`` that a failure of it is caught or that it may not
    happen: under a condition, in a loop, behind the end.
    """

    kind: str
    name: str
    line: int
    top: bool = False
    guarded: bool = False


# Modules that a Python may lack: split off by Debian (tkinter, ensurepip, …), removed by PEP 594 and PEP 632,
# or never part of it, though people are used to it (pip, setuptools).
MODULES: Final = frozenset(
    {"_gdbm", "_tkinter", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtle"}
    | {"asynchat", "asyncore", "distutils", "imp", "smtpd"}
    | {"aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "mailcap", "msilib", "nis"}
    | {"nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"}
    | {"pip", "pkg_resources", "setuptools"}
)
_LOADING: Final = (b"find_library", b"DLL", b"LoadLibrary", b"dlopen")
_NAMES: Final = rb"(?:" + b"|".join(sorted(name.encode() for name in MODULES)) + rb")\b"
# What loads is called, whatever stands before the bracket; what a function imports is named in quotes, and of that
# only this one is looked for: people used to write it.
_CALLS: Final = re.compile(rb"(?:find_library|CDLL|PyDLL|LoadLibrary|dlopen)[\s\\]*[()#]")
_QUOTED: Final = re.compile(rb"[\"']pkg_resources")
# One pattern for both words would have no literal beginning, which makes the search ten times slower. Of modules before
# the one that matters there is one way to read each, and an end to them: a long line must not take for ever.
_BEFORE: Final = rb"(?:[\w.\x80-\xff][\w. \t\x80-\xff]{0,199},[\s\\]*){0,50}?"
_IMPORTS: Final = (
    re.compile(rb"import[ \t\f\\][\s\\]*" + _BEFORE + _NAMES),
    re.compile(rb"from[ \t\f\\][\s\\]*" + _NAMES + rb"[\w.\s\\\x80-\xff]{0,200}?\bimport\b"),
)
_SHELLS: Final = frozenset({"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"})
_STARTERS: Final = frozenset({"run", "call", "check_call", "check_output", "Popen", "create_subprocess_exec"})
_LOADERS: Final = frozenset({"CDLL", "PyDLL", "LoadLibrary", "dlopen"})
# Nothing but a test runner imports these: what they load is not asked for.
TESTS: Final = re.compile(r"/(?:tests|testing|_examples)/")
_LOADS: Final = ("find_library", "load_library")
_NONE: Final[frozenset[ast.AST | None]] = frozenset()
_MODULES_OF_SHELLS: Final = frozenset({"os", "subprocess", "asyncio"})


def interesting(data: bytes, *, loads: bool = True) -> bool:
    """Whether a source may do something that matters, wherever it is installed; ``loads`` as for ``everywhere``."""
    if loads and any(word in data for word in _LOADING) and _CALLS.search(data):
        return True
    if b"pkg_resources" in data and _QUOTED.search(data):
        return True
    return any(pattern.search(data) for pattern in _IMPORTS)


@functools.cache
def _hints() -> re.Pattern[bytes]:
    """Every way to write one of the uses that matter wherever they are; for the few sources that have one."""
    return re.compile(rb"find_library|(?:CDLL|PyDLL|LoadLibrary|dlopen)\b|\b" + _NAMES)


def uses(data: bytes) -> tuple[Use, ...]:
    """All uses in one source, by line; none where it cannot be parsed."""
    return _sorted(data, lambda node: True)


def everywhere(data: bytes, *, loads: bool = True) -> tuple[Use, ...]:
    """The uses that matter wherever a source is installed, as ``uses`` has them; without ``loads`` only its imports.

    Walking a tree takes longer than parsing it: only what spans a line with a word of interest is looked into.
    """
    if not interesting(data, loads=loads):
        return ()
    # As Python's tokenizer counts lines.
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    hints = _hints()
    marked = [number for number, line in enumerate(lines, 1) if hints.search(line)]

    def within(node: ast.AST) -> bool:
        first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
        if not first:
            return True
        for decorator in getattr(node, "decorator_list", ()):
            first = min(first, decorator.lineno)
        at = bisect_left(marked, first)
        return at < len(marked) and marked[at] <= last

    return tuple(row for row in _sorted(data, within) if _matters(row, loads=loads))


def _matters(use: Use, *, loads: bool) -> bool:
    return (loads and use.kind in _LOADS) or (use.kind == "import" and use.name in MODULES)


def _sorted(data: bytes, within: Callable[[ast.AST], bool]) -> tuple[Use, ...]:
    tree = parse(data)
    if tree is None:
        return ()
    return tuple(sorted(set(_walk(tree, within)), key=lambda use: (use.line, use.kind, use.name)))


def parse(data: bytes) -> ast.Module | None:
    """The syntax tree; None where this Python cannot parse it."""
    try:
        return syntax.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def walk(tree: ast.AST, within: Callable[[ast.AST], bool] = lambda node: True) -> Iterator[tuple[ast.AST, bool, bool]]:
    """Every node with ``top`` and ``guarded``, as ``Use`` has them; only below nodes for which ``within`` holds."""
    pending: list[tuple[ast.AST, bool, bool]] = [(tree, True, False)]
    while pending:
        node, top, guarded = pending.pop()
        if not within(node):
            continue
        yield node, top, guarded
        later = _later(node) if top else _NONE
        pending += [(child, top and child not in later, guarded or unsure) for child, unsure in flow.children(node)]


def _later(node: ast.AST) -> frozenset[ast.AST | None]:
    """The children that the definition of a function leaves for its calls, which are not its decorators and defaults.

    Annotations are among them: what is executed of these is up to the version of Python and to ``__future__``.
    """
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return frozenset((*node.body, node.returns, *getattr(node, "type_params", ())))
        case ast.Lambda():
            return frozenset((node.body,))
        case ast.arg():
            return frozenset((node.annotation,))
        case _:
            return _NONE


def _walk(tree: ast.Module, within: Callable[[ast.AST], bool]) -> Iterator[Use]:
    for node, top, guarded in walk(tree, within):
        for kind, name in _found(node):
            yield Use(kind=kind, name=name, line=getattr(node, "lineno", 1), top=top, guarded=guarded)


def _found(node: ast.AST) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Import():
            for row in node.names:
                yield "import", row.name.partition(".")[0]
        case ast.ImportFrom(level=0, module=str(module)):
            yield "import", module.partition(".")[0]
        case ast.Call():
            yield from _call(node)
        case _:
            pass


def _call(node: ast.Call) -> Iterator[tuple[str, str]]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    of = getattr(function.value, "id", "") if isinstance(function, ast.Attribute) else ""
    first = _text(node.args[0]) if node.args else ""
    if name == "__import__" or (name == "import_module" and first):
        if first and not first.startswith("."):
            yield "import", first.partition(".")[0]
    elif name.lstrip("_") == "find_library":
        yield "find_library", first
    elif name in _LOADERS and node.args and not _is_none(node.args[0]):
        yield "load_library", first
    elif name == "ZoneInfo" and first:
        yield "zone", first
    elif name == "setlocale":
        text = _text(node.args[1]) if len(node.args) > 1 else ""
        if text:
            yield "locale", text
    elif name in _SHELLS and of in _MODULES_OF_SHELLS:
        yield "shell", f"{of}.{name}"
    elif name in _STARTERS and of in ("subprocess", "asyncio"):
        if any(row.arg == "shell" and getattr(row.value, "value", None) is True for row in node.keywords):
            yield "shell", f"{of}.{name} with shell=True"
        else:
            words = _words(node, name)
            if program := first or (words[0] if words else ""):
                yield "program", program
            if "-m" in words[1:-1]:
                yield "module", " ".join(filter(None, words[words.index("-m") + 1 :]))


def _is_none(node: ast.AST) -> bool:
    """Whether it is the program itself that is opened."""
    return isinstance(node, ast.Constant) and node.value is None


def _words(node: ast.Call, name: str) -> list[str]:
    """The words of a command that is given as a list, or as arguments; "" for what is computed."""
    rows = node.args[0] if node.args else None
    if isinstance(rows, ast.List | ast.Tuple):
        return [_text(row) for row in rows.elts]
    return [_text(row) for row in node.args] if name == "create_subprocess_exec" else []


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
