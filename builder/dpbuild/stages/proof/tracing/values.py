"""What names stand for while sources are followed."""

import ast
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from dpbuild.frozen import frozen


class Unknown(Enum):
    """The one value of which nothing is known."""

    UNKNOWN = 0


UNKNOWN: Final = Unknown.UNKNOWN

# Constants of Python stand for themselves; lists and tuples may hold any value.
Value = Any


@frozen(kw_only=False)
class Known:
    """Something of the standard library or a builtin, by its full name."""

    name: str


@dataclass(slots=True, eq=False)
class Module:
    """A module that is imported, or being imported."""

    name: str
    path: str
    names: dict[str, Value] = field(default_factory=dict)
    problem: "Raised | None" = None


@dataclass(slots=True, eq=False)
class Scope:
    """Names that can be seen: a function's or class's own, those around it, the module's."""

    module: Module
    names: dict[str, Value]
    around: "Scope | None" = None
    declared_global: set[str] = field(default_factory=set)

    def get(self, name: str) -> Value:
        """What ``name`` stands for here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.around
        if name in self.module.names:
            return self.module.names[name]
        return Known(f"builtins.{name}")

    def set(self, name: str, value: Value) -> None:
        """Bind ``name``. Whether a function comes to binding a module's name may not be known."""
        if name in self.declared_global:
            known = self.module.names
            known[name] = value if name not in known or known[name] is value else Unknown.UNKNOWN
        else:
            self.names[name] = value


@dataclass(slots=True, eq=False)
class Function:
    """A function defined in a source."""

    node: ast.FunctionDef
    scope: Scope


@dataclass(slots=True, eq=False)
class Class:
    """A class defined in a source; ``names`` is what its body bound."""

    node: ast.ClassDef
    scope: Scope
    names: dict[str, Value]


@frozen(kw_only=False, order=True)
class Cause:
    """What an import ends with: ``kind`` is ``load`` (the file ``name``), ``open`` (dlopen of ``name``) or ``find``
    (``find_library`` of ``name``); ``path`` and ``line`` are where a source does it.
    """

    kind: str
    name: str
    path: str = ""
    line: int = 0


class Raised(Exception):
    """An exception for sure: ``type`` is its class's name."""

    def __init__(self, type_: str, causes: frozenset[Cause] = frozenset()) -> None:
        super().__init__(type_)
        self.type = type_
        self.causes = causes


class TooMuch(Exception):
    """The sources are too long to be followed to the end."""
