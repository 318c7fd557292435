"""The names that a source binds and stores, told from its syntax tree; nothing else of the image is asked."""

import ast
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.stages.proof import sources

# What makes the names of the module that it is in unknown, and of any other.
_UNKNOWN: Final = frozenset(
    {"__getattr__", "globals", "locals", "vars", "exec", "eval", "modules", "__dict__", "__path__"}
)
_SETS: Final = frozenset({"setattr", "modules", "__dict__", "exec"})


@frozen
class Names:
    """What a source binds at its top level, and what it stores on any object.

    It is not ``known`` if there may be more of the first, and it ``sets`` what nobody knows if of the second.
    """

    bound: frozenset[str] = frozenset()
    stored: frozenset[str] = frozenset()
    known: bool = True
    sets: bool = False


NONE: Final = Names()


def names_of(tree: ast.AST) -> Names:
    """The names of a source. What is bound under a condition counts, and what a function declares global."""
    bound: set[str] = set()
    stored: set[str] = set()
    known, sets = True, False
    for node, top, _ in sources.walk(tree):
        match node:
            case ast.Global():
                bound |= set(node.names)
            case ast.Attribute(ctx=ast.Store()):
                stored.add(node.attr)
            case ast.ImportFrom() if any(row.name == "*" for row in node.names):
                known = False
            case ast.Import() | ast.ImportFrom():
                bound |= {(row.asname or row.name).partition(".")[0] for row in node.names} if top else set()
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound |= {node.name} if top else set()
            case ast.Name(ctx=ast.Store()):
                bound |= {node.id} if top else set()
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case _ if type(node).__name__ == "TypeAlias":
                bound.add(getattr(getattr(node, "name", None), "id", ""))
            case _:
                pass
        word = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        known = known and word not in _UNKNOWN
        sets = sets or word in _SETS
    return Names(bound=frozenset(bound), stored=frozenset(stored), known=known, sets=sets)
