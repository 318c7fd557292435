"""Layers laid over each other: the spec's rules, containerd's where the spec is silent, and hostile layers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbuild.archive import apply
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree, OverlayError


def f(path: str, size: int = 1, **fields: object) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o644, size=size, **fields)  # type: ignore[arg-type]


def d(path: str, mode: int = 0o755) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY, mode=mode)


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=target)


def hard(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.HARDLINK, mode=0o644, target=target)


def tree(*layers: list[Entry]) -> FileTree:
    return FileTree.of(layers)


def test_the_later_layer_wins_and_says_so() -> None:
    found = tree([d("a"), f("a/x", 1), f("a/y", 1)], [f("a/x", 2)])

    assert [(row.path, row.size) for row in found.entries()] == [("", 0), ("a", 0), ("a/x", 2), ("a/y", 1)]
    assert [found.layer_of(path) for path in ("a", "a/x", "a/y")] == [0, 1, 0]
    assert (found.origin("a/x"), found.origin("a/y")) == ((1, 0), (0, 2))


def test_a_whiteout_hides_a_file_and_a_folder_with_all_in_it() -> None:
    found = tree([f("a/x"), f("a/sub/deep/y"), f("b")], [f("a/.wh.sub"), f(".wh.b")])

    assert list(found.paths()) == ["", "a", "a/x"]


def test_a_whiteout_never_hides_what_its_own_layer_brings() -> None:
    """In whichever order: "only apply to resources in lower/parent layers"."""
    lower = [f("a/old"), f("a/both", 1)]
    for layer in ([f("a/.wh.both"), f("a/both", 2)], [f("a/both", 2), f("a/.wh.both")]):
        assert tree(lower, layer).follow("a/both") == f("a/both", 2)


def test_an_opaque_whiteout_leaves_only_its_own_layers_children() -> None:
    lower = [d("a", 0o700), f("a/old"), f("a/sub/old")]
    for layer in (
        [d("a", 0o711), f("a/.wh..wh..opq"), f("a/new"), f("a/sub/new")],
        [f("a/sub/new"), f("a/new"), d("a", 0o711), f("a/.wh..wh..opq")],
    ):
        found = tree(lower, layer)
        assert list(found.paths()) == ["", "a", "a/new", "a/sub", "a/sub/new"]
        assert found.layer_of("a/sub") == 1


def test_other_names_that_aufs_left_are_no_files() -> None:
    assert list(tree([f(".wh..wh.plnk"), f(".wh..wh.aufs")]).paths()) == [""]


def test_a_file_replaces_a_folder_and_a_folder_a_file() -> None:
    found = tree([f("a/x"), f("b")], [f("a"), d("b"), f("b/x")])

    assert list(found.paths()) == ["", "a", "b", "b/x"]
    assert (found.is_file("a"), found.is_directory("b")) == (True, True)


def test_a_folder_over_a_folder_keeps_the_children_and_takes_the_metadata() -> None:
    found = tree([d("tmp", 0o755), f("tmp/x")], [d("tmp", 0o1777)])

    assert found.get("tmp") == d("tmp", 0o1777)
    assert "tmp/x" in found


def test_a_folder_over_a_link_replaces_the_link() -> None:
    """What breaks merged-usr bases: the loader is gone, and the tree has to show it."""
    lower = [d("usr/lib64"), f("usr/lib64/ld.so"), link("lib64", "usr/lib64")]

    assert tree(lower).is_file("lib64/ld.so")
    assert not tree(lower, [d("lib64"), f("lib64/other")]).is_file("lib64/ld.so")


def test_what_is_written_through_a_link_lands_behind_it() -> None:
    found = tree([d("usr/lib"), link("lib", "usr/lib"), link("abs", "/usr/lib")], [f("lib/x"), f("abs/y")])

    assert found.children("/usr/lib") == ("x", "y")
    assert found.get("usr/lib/x") == f("usr/lib/x")
    assert "x" in found.children("/lib")


def test_a_dangling_link_as_a_parent_makes_its_target() -> None:
    found = tree([link("lib", "usr/lib")], [f("lib/x")])

    assert list(found.paths()) == ["", "lib", "usr", "usr/lib", "usr/lib/x"]


def test_links_never_leave_the_root() -> None:
    found = tree([link("up", "../../.."), link("far", "/../../etc"), f("etc/passwd")], [f("up/x"), f("far/y")])

    assert list(found.paths()) == ["", "etc", "etc/passwd", "etc/y", "far", "up", "x"]
    assert found.resolve("up/etc/passwd") == "etc/passwd"
    assert found.resolve("../../etc/passwd") == "etc/passwd"


def test_lookups() -> None:
    found = tree([f("usr/bin/python3.11"), link("usr/bin/python3", "python3.11"), link("bin", "usr/bin")])

    assert found.resolve("/bin/python3") == "usr/bin/python3.11"
    assert found.get("/bin/python3") == link("usr/bin/python3", "python3.11")
    assert found.follow("bin/python3") == f("usr/bin/python3.11")
    assert found.get("bin") == link("bin", "usr/bin")
    assert found.resolve("bin") == "usr/bin"
    assert found.get("bin/") == d("usr/bin")
    assert found.resolve("/") == "" == found.resolve("bin/../..")
    assert found.resolve("usr/bin/python3.11/x") is None is found.get("usr/nothing")
    assert found.resolve("usr/bin/python3.11/") is None or found.is_file("usr/bin/python3.11/")
    assert (found.children("usr/bin/python3"), found.children("nothing")) == ((), ())
    assert ("bin/python3" in found, "bin/python2" in found) == (True, False)
    with pytest.raises(KeyError):
        found.layer_of("nothing")
    with pytest.raises(KeyError):
        found.origin("usr/bin")


def test_links_that_never_end_lead_nowhere() -> None:
    found = tree([link("a", "b"), link("b", "a"), link("self", "self/x")])

    assert found.resolve("a") is found.resolve("self") is found.follow("a/x") is None
    assert found.get("a") == link("a", "b")


def test_a_hard_link_keeps_its_file_when_the_name_is_replaced() -> None:
    found = tree([f("a", 5, uid=7), hard("b", "a"), hard("c", "b")], [f("a", 9)])

    assert [found.origin(path) for path in "abc"] == [(1, 0), (0, 0), (0, 0)]
    assert list(found.origins()) == [("a", (1, 0)), ("b", (0, 0)), ("c", (0, 0))]
    assert found.get("c") == Entry(path="c", kind=Kind.HARDLINK, mode=0o644, uid=7, size=5, target="b")
    assert found.is_file("c")


def test_a_hard_link_through_a_linked_folder_and_into_a_lower_layer() -> None:
    found = tree([f("usr/lib/x", 3), link("lib", "usr/lib"), link("s", "lib/x")], [hard("y", "lib/x"), hard("t", "s")])

    assert found.origin("y") == (0, 0)
    assert found.get("y") is not None
    assert found.get("t") == link("t", "lib/x")


def test_a_folder_that_changes_between_two_of_its_files() -> None:
    linked = tree([f("usr/lib/a"), link("lib", "usr/lib"), f("lib/b"), d("lib"), f("lib/c")])
    hidden = tree([f("x/a/old")], [f("x/a/b"), f("x/.wh.a"), f("x/a/c")])
    above = tree([f("x/y/z/a"), f("x/y"), d("x/y"), d("x/y/z"), f("x/y/z/b")])

    assert [row for row in linked.paths() if linked.is_file(row)] == ["lib/c", "usr/lib/a", "usr/lib/b"]
    assert [row for row in hidden.paths() if hidden.is_file(row)] == ["x/a/b", "x/a/c"]
    assert [row for row in above.paths() if above.is_file(row)] == ["x/y/z/b"]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([[f("a"), f("a/x")]], "which is no folder"),
        ([[link("a", "a"), f("a/x")]], "too many symbolic links"),
        ([[hard("a", "missing")]], "which cannot be linked to"),
        ([[d("d"), hard("a", "d")]], "which cannot be linked to"),
        ([[f("a"), hard("a", "a")]], "which cannot be linked to"),
        ([[f("")]], "makes the root a file"),
    ],
)
def test_layers_that_no_engine_unpacks(layers: list[list[Entry]], said: str) -> None:
    with pytest.raises(OverlayError, match=said):
        tree(*layers)


def test_the_roots_metadata_are_an_entry_too() -> None:
    assert tree([d("", 0o700)]).get("/") == d("", 0o700)


# Hostile layers: each of these would take hours or all memory if it were followed without a bound.


def test_endless_whiteouts_of_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "WORK", 500_000)
    files = [f(f"a/{i}") for i in range(2_000)]
    with pytest.raises(OverlayError, match="too many steps"):
        tree([f("a/old")], [*files, *(f("a/.wh..wh..opq") for _ in range(2_000))])


def test_names_that_lead_through_many_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "WORK", 500_000)
    deep = "/".join("d" for _ in range(200))
    links = [link("l0", deep), *(link(f"l{i}", f"l{i - 1}/{'../' * 200}{deep}") for i in range(1, 35))]
    with pytest.raises(OverlayError, match="too many steps"):
        tree([d(deep), *links, *(f(f"l{33 + i % 2}/{i}") for i in range(2_000))])


def test_links_that_make_a_tree_ever_deeper() -> None:
    rows: list[Entry] = []
    here = ""
    for i in range(60):
        rows += [d(f"x{here}/" + "/".join("d" for _ in range(20))), link(f"n{i}", f"x{here}" + "/d" * 20)]
        here += "/d" * 20
    with pytest.raises(OverlayError, match="too long or too deep"):
        tree(rows)


def test_too_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "MOST_ENTRIES", 10)
    with pytest.raises(OverlayError, match="more than 10 entries"):
        tree([f(str(i)) for i in range(11)])


# Against a model: a dict of paths, without links.

_PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
_STEPS = st.tuples(st.sampled_from(["file", "folder", "hide", "opaque"]), _PATHS)


def _model(layers: list[list[tuple[str, str]]]) -> dict[str, tuple[str, int]]:
    """Whiteouts first, then what is added: the same as any order, by the spec."""
    files: dict[str, tuple[str, int]] = {}

    def drop(path: str) -> None:
        for key in [key for key in files if key == path or key.startswith(path + "/")]:
            del files[key]

    for index, layer in enumerate(layers):
        for what, path in layer:
            if what == "hide":
                drop(path)
            elif what == "opaque":
                for key in [key for key in files if key.startswith(path + "/")]:
                    del files[key]
        for what, path in layer:
            if what in ("file", "folder"):
                parts = path.split("/")
                for i in range(1, len(parts)):
                    files.setdefault("/".join(parts[:i]), ("directory", index))
                kind = "directory" if what == "folder" else what
                if files.get(path, ("", 0))[0] != "directory" or kind == "file":
                    drop(path)
                files[path] = (kind, index)
    return files


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(_STEPS, max_size=6), min_size=1, max_size=4))
def test_the_tree_is_what_a_simple_model_says(layers: list[list[tuple[str, str]]]) -> None:
    rows: list[list[Entry]] = []
    for layer in layers:
        row = []
        for what, path in layer:
            folder, _, name = path.rpartition("/")
            prefix = f"{folder}/" if folder else ""
            match what:
                case "file":
                    row.append(f(path))
                case "folder":
                    row.append(d(path))
                case "hide":
                    row.append(f(f"{prefix}.wh.{name}"))
                case _:
                    row.append(f(f"{path}/.wh..wh..opq"))
        rows.append(row)
    try:
        found = tree(*rows)
    except OverlayError:
        # A name below a file: no engine unpacks that.
        return
    expected = _model([[(what, path) for what, path in layer] for layer in layers])
    # A mark may make the folders that it stands in: whether it does depends on the order, and matters to nobody.
    marks = {path for layer in layers for what, path in layer if what in ("hide", "opaque")}
    got = {row.path: str(row.kind) for row in found.entries() if row.path}
    assert {path: kind for path, kind in got.items() if path in expected} == {
        path: kind for path, (kind, _) in expected.items()
    }
    assert all(any(mark == path or mark.startswith(path + "/") for mark in marks) for path in got.keys() - expected)
    assert dict(found.origins()) == {path: found.origin(path) for path in got if found.is_file(path)}
    assert FileTree.from_bytes(found.to_bytes()) == found


def test_bytes_keep_everything() -> None:
    rare = Entry(
        path="dev/ü\udcff",
        kind=Kind.CHARACTER,
        mode=0o4600,
        uid=1 << 40,
        mtime=-5,
        user="u",
        group="g",
        device=(8, 1),
        xattrs=(("security.capability", b"\0\xff"), ("user.x", b"")),
    )
    found = tree([rare, f("a", 3), hard("b", "a"), link("c", "a")])
    again = FileTree.from_bytes(found.to_bytes())

    assert again == found
    assert again.get("dev/ü\udcff") == rare
    assert again.origin("b") == (0, 1)


@pytest.mark.parametrize("data", [b"", b"junk", tree([f("a")]).to_bytes()[:-9]])
def test_bytes_that_are_no_tree(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a file tree"):
        FileTree.from_bytes(data)
