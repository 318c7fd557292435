"""What sources import, do and name, as far as rules ask for it, without lines: known by content once it was told."""

from __future__ import annotations

import ast
import hashlib
import json
from typing import Any, Final

from dpbuild.frozen import asdict, frozen, replace
from dpbuild.stages import syntax
from dpbuild.stages.proof import sources
from dpbuild.stages.proof.names import NONE, Names, names_of

# Nodes of the syntax tree that not every Python knows.
_NEWER: Final = frozenset({"Match", "TryStar", "TypeAlias", "TypeVar", "ParamSpec", "TypeVarTuple", "TemplateStr"})


@frozen
class Told:
    """What one source says: ``value``, as JSON, its names, and those that it ``wants`` of others."""

    value: Any
    names: Names = NONE
    wants: frozenset[str] = frozenset()


class Sources:
    """The sources of an app. ``before`` is what ``kept`` gave when they were last asked, None at first: an edit changes
    one of them, and parsing all takes longer than the rest of a build.
    """

    def __init__(self, before: bytes | None = None) -> None:
        self._before: dict[str, list[Any]] = {} if before is None else json.loads(before)
        self._rows: dict[str, list[Any]] = {}

    def ask(self, data: bytes) -> Told:
        """What a source says."""
        key = hashlib.sha256(data).hexdigest()
        row = self._before.get(key)
        told = _told(data) if row is None else _decode(row)
        self._rows[key] = _encode(told) if row is None else row
        return told

    def kept(self) -> bytes | None:
        """What to remember; None where that is what was remembered."""
        return None if self._rows.keys() == self._before.keys() else json.dumps(self._rows).encode()


def _told(data: bytes) -> Told:
    tree = sources.parse(data)
    if tree is None:
        return Told(value="no Python")
    imports, newer, wants = set(), set(), set()
    for node, top, guarded in sources.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            told = [getattr(node, "module", None), getattr(node, "level", 0)]
            wants |= {row.name for row in node.names}
            imports |= {json.dumps([*told, row.name, top, guarded]) for row in node.names}
        elif type(node).__name__ in _NEWER:
            newer.add(f"{type(node).__name__} {getattr(node, 'default_value', None) is not None}")
    uses = {json.dumps(asdict(replace(use, line=0))) for use in sources.uses(data)}
    value = [sorted(imports), sorted(uses), sorted(newer), syntax.compiles(data), b"__package__" in data]
    return Told(value=value, names=names_of(tree), wants=frozenset(wants))


def _encode(told: Told) -> list[Any]:
    names = told.names
    return [told.value, sorted(told.wants), sorted(names.bound), sorted(names.stored), names.known, names.sets]


def _decode(row: list[Any]) -> Told:
    value, wants, bound, stored, known, sets = row
    names = Names(bound=frozenset(bound), stored=frozenset(stored), known=known, sets=sets)
    return Told(value=value, names=names, wants=frozenset(wants))
