"""What of a source is surely executed, and which failures of it are not caught: told from the syntax tree alone."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from typing import Final

# How deep in blocks an end is looked for; long chains of elif are deep.
_DEEPEST: Final = 20
# Functions that do not come back.
_EXITS: Final = frozenset({"exit", "quit", "_exit", "abort"})
_EXECS: Final = re.compile(r"exec[lv]p?e?")
# Exceptions that are surely not raised for a module that is not there; names that are not Python's may be.
_OTHERS: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException) and not issubclass(ModuleNotFoundError, value)
)
# How people call context managers that keep failures to themselves (contextlib.suppress, try_import, …).
_SUPPRESSES: Final = re.compile(r"suppress|ignor|swallow|optional|import|except|error|raises|catch(?!_warnings)", re.I)


def children(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """The children of a node, each with whether it may be left out, or its failure caught, when ``node`` is executed.

    Of a function that is its definition; the calls of it are not looked for.
    """
    for name, value in ast.iter_fields(node):
        over = False
        for position, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield child, over or _unsure(node, name, position)
                over = over or (isinstance(child, ast.stmt) and _ends(child))


def suppresses(node: ast.With) -> bool:
    """Whether it is ``contextlib.suppress``, or something else that is called like what catches exceptions."""
    for part in (part for row in node.items for part in ast.walk(row.context_expr)):
        name = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
        if _SUPPRESSES.search(name):
            return True
    return False


def _unsure(node: ast.AST, name: str, position: int) -> bool:
    match node:
        case ast.Try() | ast.TryStar():
            return name != "finalbody" and bool(node.handlers) and not _passes(node, name, position)
        case ast.If() | ast.IfExp():
            return name != "test" and _truth(node.test) is not (name == "body")
        case ast.While():
            return name != "test" and (name == "orelse" or _truth(node.test) is not True)
        case ast.For():
            return name != "iter"
        case ast.With():
            return name == "body" and suppresses(node)
        case ast.Match():
            return name == "cases"
        case ast.BoolOp() | ast.Compare():
            return name in ("values", "comparators") and position > 0
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return name != "generators" or position > 0
        case ast.comprehension():
            return name != "iter"
        case ast.Assert() | ast.ExceptHandler():
            return True
        case _:
            return False


def _passes(node: ast.Try | ast.TryStar, name: str, position: int) -> bool:
    """Whether a statement in ``try`` is surely executed, and a missing module in it none of the handlers' business.

    Whatever comes before it may raise what they catch.
    """
    return name == "body" and position == 0 and all(_is_other(row.type) for row in node.handlers)


def _is_other(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return all(_is_other(row) for row in caught.elts)
    return isinstance(caught, ast.Name) and caught.id in _OTHERS


def _truth(test: ast.expr) -> bool | None:
    """What a condition always is; None where that is not known."""
    return bool(test.value) if isinstance(test, ast.Constant) else None


def _end(body: Iterable[ast.stmt], deep: int) -> bool:
    return deep < _DEEPEST and any(_ends(row, deep + 1) for row in body)


def _ends(node: ast.stmt, deep: int = 0) -> bool:
    """Whether what follows in the same block is surely not executed."""
    match node:
        case ast.Raise() | ast.Return() | ast.Break() | ast.Continue():
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name in _EXITS or _EXECS.fullmatch(name) is not None
        case ast.If():
            ways = {True: [node.body], False: [node.orelse], None: [node.body, node.orelse]}
            return all(_end(body, deep) for body in ways[_truth(node.test)])
        case ast.While():
            return _truth(node.test) is True and not any(isinstance(row, ast.Break) for row in ast.walk(node))
        case ast.With():
            return _end(node.body, deep) and not suppresses(node)
        case ast.Try() | ast.TryStar():
            whole = _end([*node.body, *node.orelse], deep) and all(_end(row.body, deep) for row in node.handlers)
            return whole or _end(node.finalbody, deep)
        case _:
            return False
