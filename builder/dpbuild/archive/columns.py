"""Entries as columns of JSON, and back: a layer or an image has tens of thousands.

What is the same in all entries, as owners and times mostly are, is written once. Reading most columns makes no call of
a function in Python for each entry.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, Final

from dpbuild.archive.entry import Entry, Kind

# All values, or {"all": the one that all entries have}.
Column = list[Any] | dict[str, Any]

_SAME: Final = "all"
# A kind is written as its place here.
_KINDS: Final = tuple(Kind)
_PLACES: Final = {kind: place for place, kind in enumerate(_KINDS)}
_ENTRY: Final = partial(tuple.__new__, Entry)


def pack(entries: Iterable[Entry]) -> list[Column]:
    """Values for JSON; ``unpack`` reads them again."""
    paths, kinds, *rest, xattrs = zip(*entries, strict=True) if (entries := tuple(entries)) else [()] * len(_FIELDS)
    places = [_PLACES[kind] for kind in kinds]
    pairs = [[[name, raw.decode("latin-1")] for name, raw in row] for row in xattrs]
    return [list(paths), *map(pack_column, (places, *rest, pairs))]


def unpack(columns: list[Any]) -> Iterator[Entry]:
    """The entries. Raises ValueError, TypeError or LookupError for what ``pack`` did not make, also later on."""
    if len(columns) != len(_FIELDS):
        raise ValueError(f"{len(columns)} columns")
    count = len(columns[0])
    values = (unpack_column(column, count, read) for column, read in zip(columns, _FIELDS, strict=True))
    return map(_ENTRY, zip(*values, strict=True))


def pack_column(values: Iterable[Any]) -> Column:
    """A column of these."""
    column = list(values)
    return {_SAME: column[0]} if column and column.count(column[0]) == len(column) else column


def unpack_column(column: Any, count: int, read: Callable[[Any], Any] | None = None) -> Iterator[Any]:
    """What ``pack_column`` was given, ``count`` values, each as ``read`` makes it of JSON's. Raises as ``unpack``."""
    if isinstance(column, dict):
        value = column[_SAME]
        return repeat(value if read is None else read(value), count)
    return iter(column) if read is None else map(read, column)


def _xattrs(rows: list[Any]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, text.encode("latin-1")) for name, text in rows)


_READ: Final[dict[str, Callable[[Any], Any]]] = {"kind": _KINDS.__getitem__, "device": tuple, "xattrs": _xattrs}
_FIELDS: Final = tuple(_READ.get(name) for name in Entry._fields)
