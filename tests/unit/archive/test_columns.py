"""Entries as columns: nothing of them is lost, and what is the same in all is written once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbuild.archive.columns import pack, unpack
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree

_NUMBERS = st.integers(0, 1 << 40)
_TEXTS = st.text(max_size=8) | st.just("\udcff")
_ENTRIES = st.builds(
    Entry,
    path=_TEXTS,
    kind=st.sampled_from(Kind),
    mode=_NUMBERS,
    uid=_NUMBERS,
    gid=_NUMBERS,
    mtime=_NUMBERS,
    size=_NUMBERS,
    target=_TEXTS,
    user=_TEXTS,
    group=_TEXTS,
    device=st.tuples(_NUMBERS, _NUMBERS),
    xattrs=st.lists(st.tuples(_TEXTS, st.binary(max_size=8)), max_size=2).map(tuple),
)


@given(entries=st.lists(_ENTRIES, max_size=4), times=st.integers(1, 3))
def test_entries_come_back_as_they_were(entries: list[Entry], times: int) -> None:
    kept = json.dumps(pack(entries * times))

    found = list(unpack(json.loads(kept)))
    assert found == entries * times
    assert all(type(row) is Entry and type(row.kind) is Kind and type(row.device) is tuple for row in found)


def test_what_all_have_in_common_is_written_once() -> None:
    few, many = ([Entry(str(i), Kind.FILE, 0o644, uid=12345, size=i) for i in range(n)] for n in (2, 200))

    assert [json.dumps(pack(rows)).count("12345") for rows in (few, many)] == [1, 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda columns: columns[:-1],
        lambda columns: [columns[0][:1], *columns[1:]],
        lambda columns: [columns[0], [0], *columns[2:]],
        lambda columns: [columns[0], [0, 99], *columns[2:]],
        lambda columns: [columns[0], {"none": 0}, *columns[2:]],
        lambda columns: [columns[0], None, *columns[2:]],
    ],
)
def test_what_is_not_made_so_is_refused(damage: object) -> None:
    columns = pack([Entry("a", Kind.FILE, 0o644, size=1), Entry("b", Kind.DIRECTORY, 0o755)])
    assert callable(damage)

    with pytest.raises((ValueError, TypeError, LookupError)):
        list(unpack(damage(columns)))


def test_a_merged_tree_comes_back_as_it_was() -> None:
    tree = FileTree.of(
        [
            [Entry("a", Kind.DIRECTORY, 0o755), Entry("a/x", Kind.FILE, 0o644, size=3, mtime=7)],
            [Entry("l", Kind.SYMLINK, 0o777, target="a"), Entry("a/y", Kind.HARDLINK, 0o644, target="a/x")],
        ]
    )

    again = FileTree.from_bytes(tree.to_bytes())
    assert again == tree
    assert (again.origin("l/y"), again.layer_of("l"), list(again.entries())) == ((0, 1), 1, list(tree.entries()))
    with pytest.raises(ValueError, match="not a file tree"):
        FileTree.from_bytes(tree.to_bytes()[:-9])
