"""``@frozen``: a value whose fields are set once, as by ``dataclass(frozen=True, slots=True, kw_only=True)``.

Importing dataclasses takes nearly as long as Python takes to start (it imports inspect, ast and dis), and for each
class the standard library compiles six functions. A run makes a hundred of these classes, and all that took it as long
as its work. Here five of the six functions are shared, and ``__init__`` is compiled when several values are made, which
most runs do for few classes. What takes dataclasses apart (``replace``, ``asdict``, ``fields``, ``match``, type
checkers) finds what it looks for; the same functions are here for those that are in a hurry.

Not for classes that are inherited from, or changed: these are dataclasses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    # Type checkers know what it takes.
    from dataclasses import replace as replace  # noqa: PLC0414

_T = TypeVar("_T")
_SET: Final = object.__setattr__
# Values of a class that are made without an ``__init__`` of its own: as long as they take to make so, it to compile.
_FEW: Final = 16
# What stands for no default.
MISSING: Final[Any] = type("_Missing", (), {"__repr__": lambda self: "MISSING"})()


class Field:
    """What is known of a field. ``default`` or ``default_factory`` is ``MISSING`` where there is none."""

    __slots__ = ("compare", "default", "default_factory", "hashed", "kw_only", "name", "shown")

    def __init__(self, default: Any, default_factory: Any, *, compare: bool, hashed: bool, shown: bool) -> None:
        self.name = ""
        self.kw_only = False
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.hashed = hashed and compare
        self.shown = shown


@overload
def field(*, default: _T, compare: bool = True, hashed: bool = True, shown: bool = True) -> _T: ...
@overload
def field(
    *, default_factory: Callable[[], _T], compare: bool = True, hashed: bool = True, shown: bool = True
) -> _T: ...
@overload
def field(*, compare: bool = True, hashed: bool = True, shown: bool = True) -> Any: ...
def field(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    compare: bool = True,
    hashed: bool = True,
    shown: bool = True,
) -> Any:
    """A field's default; whether values are compared by it, hashed by it (if they are compared), and show it."""
    return Field(default, default_factory, compare=compare, hashed=hashed, shown=shown)


@overload
def frozen(cls: type[_T], /) -> type[_T]: ...
@overload
def frozen(*, kw_only: bool = True, order: bool = False) -> Callable[[type[_T]], type[_T]]: ...
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[Any] | None = None, /, *, kw_only: bool = True, order: bool = False) -> Any:
    """Make a class of annotated fields one of frozen values, with slots; ``kw_only`` and ``order`` as for dataclasses.

    Raises TypeError for a field of dataclasses' own, and for a default that can be changed.
    """
    if cls is None:
        return functools.partial(_made, kw_only=kw_only, order=order)
    return _made(cls, kw_only=kw_only)


def _made(plain: type[Any], *, kw_only: bool, order: bool = False) -> type[Any]:
    body = dict(plain.__dict__)
    rows = tuple(_rows(plain, body, kw_only=kw_only))
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    names = tuple(row.name for row in rows)
    body |= {
        "__qualname__": plain.__qualname__,
        "__slots__": names,
        "__match_args__": () if kw_only else names,
        "__doc__": plain.__doc__ or plain.__name__,
        "__dataclass_fields__": _Genuine(),
        "__setattr__": _refuse_set,
        "__delattr__": _refuse_delete,
        "__repr__": _repr,
        # Of slots that refuse to be set, pickle and copy have to be told.
        "__getstate__": _state,
        "__setstate__": _restore,
        "__replace__": replace,
        "__frozen_fields__": rows,
    }
    meta: Any = type(plain)
    cls: Any = meta(plain.__name__, plain.__bases__, body)
    compared = _getter([row.name for row in rows if row.compare])
    hashed = _getter([row.name for row in rows if row.hashed])

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

    cls.__init__, cls.__eq__, cls.__hash__ = init, equal, hash_of
    if order:
        for name in ("__lt__", "__le__", "__gt__", "__ge__"):
            setattr(cls, name, _ordered(cls, name, compared))
    return cls  # type: ignore[no-any-return]


def _rows(plain: type[Any], body: dict[str, Any], *, kw_only: bool) -> Iterable[Field]:
    """The fields of a class, whose defaults are taken from its ``body``."""
    for name, annotation in plain.__annotations__.items():
        text = annotation if isinstance(annotation, str) else ""
        if (
            text.removeprefix("typing.").startswith("ClassVar")
            or getattr(annotation, "__origin__", annotation) is ClassVar
        ):
            continue
        given = body.pop(name, MISSING)
        if type(given).__module__ == "dataclasses":
            raise TypeError(f"{plain.__name__}.{name}: a field of dataclasses, not of dpbuild.frozen")
        row = given if isinstance(given, Field) else field(default=given)
        if type(row.default).__hash__ is None:
            raise TypeError(f"{plain.__name__}.{name}: all values would share its default; give a default_factory")
        row.name, row.kw_only = name, kw_only
        yield row


def _getter(names: list[str]) -> Callable[[object], Any]:
    return attrgetter(*names) if names else lambda row: ()


def _ordered(cls: type[Any], name: str, compared: Callable[[object], Any]) -> Callable[[object, object], Any]:
    def compare(self: object, other: object) -> Any:
        if other.__class__ is not cls:
            return NotImplemented
        return getattr(compared(self), name)(compared(other))

    return compare


def _filled(self: Any, rows: tuple[Field, ...], named: dict[str, Any]) -> bool:
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


def _compiled(cls: type[Any], rows: tuple[Field, ...]) -> Any:
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


def fields(row: Any) -> tuple[Field, ...]:
    """The fields of a frozen value, or of a class of these, in their order. Raises TypeError for anything else."""
    found: tuple[Field, ...] | None = getattr(row, "__frozen_fields__", None)
    if found is None:
        raise TypeError(f"not a frozen value: {row!r}")
    return found


def asdict(row: Any) -> dict[str, Any]:
    """The fields of a frozen value by name; frozen values in it, and in its tuples, lists and dicts, likewise.

    Raises TypeError for what is not frozen.
    """
    return {each.name: _taken_apart(getattr(row, each.name)) for each in fields(row)}


def _taken_apart(value: Any) -> Any:
    if isinstance(value, list | tuple):
        rows = [_taken_apart(each) for each in value]
        return type(value)(*rows) if hasattr(value, "_make") else type(value)(rows)
    if isinstance(value, dict):
        return {_taken_apart(key): _taken_apart(each) for key, each in value.items()}
    return asdict(value) if hasattr(type(value), "__frozen_fields__") else value


if not TYPE_CHECKING:

    def replace(row: Any, /, **changes: Any) -> Any:
        """The same frozen value with other fields. Raises TypeError for one that it does not have."""
        return row.__class__(**{each.name: getattr(row, each.name) for each in fields(row)} | changes)


class _Genuine:
    """The fields as dataclasses has them, made when somebody asks for them."""

    def __get__(self, row: object, cls: Any) -> Any:
        import dataclasses

        def genuine(each: Field) -> Any:
            given: dict[str, Any] = {
                "compare": each.compare,
                "hash": each.hashed,
                "repr": each.shown,
                "kw_only": each.kw_only,
            }
            if each.default is not MISSING:
                given["default"] = each.default
            elif each.default_factory is not MISSING:
                given["default_factory"] = each.default_factory
            return cls.__annotations__[each.name], dataclasses.field(**given)

        rows = [(each.name, *genuine(each)) for each in fields(cls)]
        made: Any = dataclasses.make_dataclass(cls.__name__, rows, frozen=True)
        found = made.__dataclass_fields__
        cls.__dataclass_fields__ = found
        return found


def _repr(self: Any) -> str:
    cls = self.__class__
    inner = ", ".join(f"{row.name}={getattr(self, row.name)!r}" for row in fields(cls) if row.shown)
    return f"{cls.__qualname__}({inner})"


def _refuse_set(_self: object, name: str, _value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(_self: object, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, row.name) for row in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for row, value in zip(fields(self), state, strict=True):
        _SET(self, row.name, value)
