"""``@frozen``: a value whose fields are set once, as by ``dataclass(frozen=True, slots=True, kw_only=True)``.

The standard library compiles six functions for each such class when its module is imported. A run imports a hundred of
these, and that took it as long as its work. Here five of the six are shared, and ``__init__`` is compiled when several
values are made, which most runs do for few classes. What takes dataclasses apart (``replace``, ``asdict``,
``fields``, ``match``, type checkers) finds what it looks for.

Not for classes that are inherited from, ordered, or changed: these are dataclasses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, NoReturn, TypeVar, dataclass_transform, overload

_T = TypeVar("_T")
_SET: Final = object.__setattr__
# Values of a class that are made without an ``__init__`` of its own: as long as they take to make so, it to compile.
_FEW: Final = 16


@overload
def frozen(cls: type[_T], /) -> type[_T]: ...
@overload
def frozen(*, kw_only: bool = True) -> Callable[[type[_T]], type[_T]]: ...
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[Any] | None = None, /, *, kw_only: bool = True) -> Any:
    """Make a class of annotated fields one of frozen values, with slots; ``kw_only`` as for dataclasses."""
    if cls is None:
        return functools.partial(_made, kw_only=kw_only)
    return _made(cls, kw_only=kw_only)


def _made(plain: type[Any], *, kw_only: bool) -> type[Any]:
    # Without a docstring, dataclass would find out the signature to have one.
    plain.__doc__ = plain.__doc__ or plain.__name__
    cls: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(plain)
    rows = fields(cls)
    compared = _getter([row.name for row in rows if row.compare])
    hashed = _getter([row.name for row in rows if (row.compare if row.hash is None else row.hash)])

    def equal(self: object, other: object) -> Any:
        if other.__class__ is not cls:
            return NotImplemented
        return compared(self) == compared(other)

    def hash_of(self: object) -> int:
        return hash(hashed(self))

    made = 0

    def init(self: object, *given: Any, **named: Any) -> None:
        nonlocal made
        made += 1
        if given or made > _FEW or not _filled(self, rows, named):
            cls.__init__ = _compiled(cls, rows)
            cls.__init__(self, *given, **named)

    cls.__init__, cls.__eq__, cls.__hash__, cls.__repr__ = init, equal, hash_of, _repr
    cls.__setattr__, cls.__delattr__ = _refuse_set, _refuse_delete
    # Of slots that refuse to be set, pickle and copy have to be told.
    cls.__getstate__, cls.__setstate__ = _state, _restore
    return cls  # type: ignore[no-any-return]


def _getter(names: list[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else lambda row: ()


def _filled(self: Any, rows: tuple[Field[Any], ...], named: dict[str, Any]) -> bool:
    """Do what ``__init__`` would; whether ``named`` are arguments for it."""
    used = 0
    for row in rows:
        if row.name in named:
            value = named[row.name]
            used += 1
        elif row.default is not MISSING:
            value = row.default
        elif row.default_factory is not MISSING:
            value = row.default_factory()
        else:
            return False
        _SET(self, row.name, value)
    if used < len(named):
        return False
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _compiled(cls: type[Any], rows: tuple[Field[Any], ...]) -> Any:
    """The ``__init__`` of a class, which sets each field once, and then calls ``__post_init__`` if there is one."""
    known: dict[str, Any] = {"_set": _SET, "_missing": MISSING}
    arguments, lines = [], []
    for number, row in enumerate(rows):
        argument, value = row.name, row.name
        if row.default is not MISSING:
            known[f"_{number}"] = row.default
            argument += f"=_{number}"
        elif row.default_factory is not MISSING:
            known[f"_{number}"] = row.default_factory
            argument += "=_missing"
            value = f"_{number}() if {row.name} is _missing else {row.name}"
        if row.kw_only and "*" not in arguments:
            arguments.append("*")
        arguments.append(argument)
        lines.append(f" _set(self, {row.name!r}, {value})\n")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()\n")
    source = f"def __init__(self, {', '.join(arguments)}):\n{''.join(lines) or ' pass'}"
    # Of names only that are those of the fields, as dataclasses does it.
    exec(source, known)  # noqa: S102
    made = known["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made


def _repr(self: Any) -> str:
    cls = self.__class__
    inner = ", ".join(f"{row.name}={getattr(self, row.name)!r}" for row in fields(cls) if row.repr)
    return f"{cls.__qualname__}({inner})"


def _refuse_set(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, row.name) for row in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for row, value in zip(fields(self), state, strict=True):
        _SET(self, row.name, value)
