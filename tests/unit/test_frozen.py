"""``@frozen`` is to a dataclass as its twin: made of the same fields, it behaves the same."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from typing import Any, ClassVar

import pytest

from dpbuild import frozen as module
from dpbuild.frozen import field, frozen

TWIN = dataclass(frozen=True, slots=True, kw_only=True)


def row(decorate: Callable[[type[Any]], type[Any]]) -> Any:
    """A class with every kind of field, under one name."""
    twin = decorate is TWIN

    class Row:
        """Doc."""

        kind: ClassVar[str] = "row"
        name: str
        size: int = 0
        table: dict[str, int] = (
            dataclasses.field(default_factory=dict, hash=False) if twin else field(default_factory=dict, hashed=False)
        )
        note: str = dataclasses.field(default="", compare=False) if twin else field(default="", compare=False)
        secret: str = dataclasses.field(default="s", repr=False) if twin else field(default="s", shown=False)

    Row.__qualname__ = "Row"
    return decorate(Row)


@frozen
class Kept:
    """At the top of a module, where pickle finds it."""

    name: str
    more: tuple[int, ...] = ()


class Outer:
    """Around another."""

    @frozen
    class Inner:
        """Found by its whole name."""

        name: str


@frozen(kw_only=False)
class Placed:
    """Its fields have an order."""

    name: str
    size: int = 1


@frozen(kw_only=False, order=True)
class Ordered:
    """Its values can be sorted."""

    name: str
    size: int


@frozen
class Empty:
    """Without fields."""


OURS, THEIRS = row(frozen), row(TWIN)
GIVEN: tuple[dict[str, Any], ...] = (
    {"name": "a"},
    {"name": "a", "size": 1},
    {"name": "a", "table": {"x": 1}},
    {"name": "a", "note": "of no account"},
    {"name": "a", "secret": "other"},
)


@pytest.mark.parametrize("given", GIVEN)
def test_what_dataclasses_tells_of_a_value(given: dict[str, Any]) -> None:
    ours, theirs = OURS(**given), THEIRS(**given)
    assert repr(ours) == repr(theirs)
    assert asdict(ours) == asdict(theirs)
    assert repr(replace(ours, size=7)) == repr(replace(theirs, size=7))
    assert [each.name for each in fields(ours)] == [each.name for each in fields(theirs)]
    assert not hasattr(ours, "__dict__")
    assert ours.kind == "row"


def test_the_same_without_dataclasses() -> None:
    value = Kept(name="a", more=(1,))
    nested = Placed("n", [value, {"k": (value,)}])  # type: ignore[arg-type]

    assert module.replace(value, name="b") == replace(value, name="b") == Kept(name="b", more=(1,))
    assert module.asdict(nested) == asdict(nested)
    names = [(each.name, each.default) for each in module.fields(Placed)]
    assert (
        names == [("name", module.MISSING), ("size", 1)] == [(row.name, row.default) for row in module.fields(nested)]
    )
    with pytest.raises(TypeError):
        module.replace(value, other=1)
    with pytest.raises(TypeError, match="a field of dataclasses"):
        row(lambda cls: frozen(type("Row", (), {"__annotations__": {"a": "int"}, "a": dataclasses.field(default=1)})))


def test_what_is_refused_when_a_class_is_made() -> None:
    """A default that all values would share; and what is no frozen value is said to be none."""
    with pytest.raises(TypeError, match="default_factory"):
        frozen(type("Row", (), {"__annotations__": {"a": "list"}, "a": []}))
    made = frozen(type("Row", (), {"__annotations__": {"a": "typing.ClassVar[int]", "b": "int"}, "a": 1}))
    assert [each.name for each in module.fields(made)] == ["b"]
    for refuse in (module.fields, module.asdict, module.replace):
        with pytest.raises(TypeError, match="not a frozen value"):
            refuse(TWIN(type("Row", (), {}))())


def test_values_with_an_order() -> None:
    rows = [Ordered("b", 1), Ordered("a", 2), Ordered("a", 1)]

    assert sorted(rows) == [Ordered("a", 1), Ordered("a", 2), Ordered("b", 1)]
    assert Ordered("a", 1) <= Ordered("a", 1) < Ordered("a", 2) > Ordered("a", 1) >= Ordered("a", 1)
    with pytest.raises(TypeError):
        sorted([Ordered("a", 1), Placed("b")])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        sorted([Placed("a"), Placed("b")])  # type: ignore[type-var]


def test_dataclasses_are_not_imported() -> None:
    """What ``field``, ``replace`` and ``asdict`` are for."""
    code = (
        "import sys; from dpbuild.frozen import asdict, field, frozen, replace\n"
        "@frozen\nclass Row:\n    a: int\n    b: list = field(default_factory=list)\n"
        "assert asdict(replace(Row(a=1), a=2)) == {'a': 2, 'b': []} and str(Row(a=1)) == 'Row(a=1, b=[])'\n"
        "assert {'dataclasses', 'inspect'} & set(sys.modules) == set()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_values_are_equal_and_have_one_hash() -> None:
    for one in GIVEN:
        for other in GIVEN:
            assert (OURS(**one) == OURS(**other)) is (THEIRS(**one) == THEIRS(**other))
            assert (hash(OURS(**one)) == hash(OURS(**other))) is (hash(THEIRS(**one)) == hash(THEIRS(**other)))
    assert OURS(name="a") != THEIRS(name="a")
    assert Empty() == Empty()
    assert len({Empty(), Empty()}) == 1


def test_each_value_has_its_own_default() -> None:
    assert OURS(name="a").table is not OURS(name="b").table


@pytest.mark.parametrize(
    ("made", "named"),
    [((), {}), (("a",), {}), ((), {"name": "a", "other": 1})],
    ids=["missing", "positional", "unknown"],
)
def test_what_is_refused_when_one_is_made(made: tuple[object, ...], named: dict[str, Any]) -> None:
    """Whether it would be the first of its class, or one of many."""
    many = row(frozen)
    for _ in range(40):
        many(name="a")
    for cls in (row(frozen), many, THEIRS):
        with pytest.raises(TypeError):
            cls(*made, **named)


def test_nothing_changes_a_value() -> None:
    value = Kept(name="a")
    for name in ("name", "other"):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "b")
        with pytest.raises(FrozenInstanceError):
            delattr(value, name)
    assert value == Kept(name="a")


def test_pickles_and_copies() -> None:
    for value in (Kept(name="a", more=(1, 2)), Outer.Inner(name="b")):
        for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
            assert again == value
            assert again is not value
    assert repr(Outer.Inner(name="b")) == "Outer.Inner(name='b')"


def test_fields_by_their_place() -> None:
    assert Placed("a") == Placed("a", 1) == Placed(name="a", size=1)
    match Placed("b", 2):
        case Placed(name, size):
            assert (name, size) == ("b", 2)


def test_what_is_done_after() -> None:
    seen = []

    @frozen
    class Checked:
        name: str

        def __post_init__(self) -> None:
            seen.append(self.name)

    Checked(name="a")
    assert seen == ["a"]
    assert Checked.__doc__ == "Checked"


def test_nothing_is_compiled_before_several_values_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``@frozen`` is for."""
    ran: list[object] = []
    compiling = exec
    monkeypatch.setattr("builtins.exec", lambda *given: (ran.append(given), compiling(*given)))
    made = row(frozen)
    for _ in range(3):
        made(name="a")
    assert ran == []
    for _ in range(40):
        made(name="a")
    assert len(ran) == 1
    row(TWIN)
    assert len(ran) > 2


def test_the_first_values_are_made_as_all_others() -> None:
    """Classes of which few values are made have no ``__init__`` of their own yet."""
    made: list[str] = []

    @frozen
    class Fresh:
        name: str
        size: int = 0
        table: dict[str, int] = field(default_factory=dict)

        def __post_init__(self) -> None:
            made.append(self.name)

    for number in range(40):
        name = str(number)
        value = Fresh(name=name, table={name: number})
        assert (value.name, value.size, value.table, made) == (name, 0, {name: number}, [name])
        assert Fresh(name=name).table is not Fresh(name=name).table
        made.clear()
