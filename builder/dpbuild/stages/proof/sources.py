"""What a Python source does that matters on distroless, told from its syntax tree; nothing is run.

Most sources do nothing of the kind, so a search for a few words comes before parsing.
"""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of something: ``kind`` says of what, ``name`` which one, ``line`` where (from 1).

    ``top`` says that importing the module does it, ``guarded`` that a failure of it is caught.
    """

    kind: str
    name: str
    line: int
    top: bool = False
    guarded: bool = False


# A source without any of these has no uses.
WORDS: Final = (b"find_library",)


def uses(data: bytes) -> tuple[Use, ...]:
    """The uses in one source, by line; none where it cannot be parsed."""
    if not any(word in data for word in WORDS):
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(sorted(_walk(tree, top=True, guarded=False), key=lambda use: (use.line, use.kind, use.name)))


def _walk(node: ast.AST, *, top: bool, guarded: bool) -> Iterator[Use]:
    if isinstance(node, ast.Call):
        yield from _call(node, top=top, guarded=guarded)
    for child in ast.iter_child_nodes(node):
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        caught = isinstance(node, ast.Try) and child in node.body and bool(node.handlers)
        yield from _walk(child, top=top and not inner, guarded=guarded or caught)


def _call(node: ast.Call, *, top: bool, guarded: bool) -> Iterator[Use]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "find_library" and node.args and isinstance(node.args[0], ast.Constant):
        yield Use(kind="find_library", name=str(node.args[0].value), line=node.lineno, top=top, guarded=guarded)
