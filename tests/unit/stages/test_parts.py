"""A large wheel becomes several layers: together they are the one that it would be, each is made and kept by itself."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories.base import make_base
from factories.wheel import make_wheel
from hypothesis import given
from hypothesis import strategies as st

from dpbuild.adapters import store as stores
from dpbuild.adapters.helper import ProcessHelper
from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.archive.entry import Entry, Kind
from dpbuild.errors import UnsafeWheel
from dpbuild.model.artifact import Artifact
from dpbuild.model.layer import Layer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import DamagedEntry
from dpbuild.stages.contents import read_layer
from dpbuild.stages.layers import ahead, writers
from dpbuild.stages.layers import group as module
from dpbuild.stages.layers.group import BUDGET, GROUPS, borders, divided, group, spread
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.order import Order
from dpbuild.stages.layers.site import Site
from dpbuild.stages.proof.observing import Observing

SITE = "usr/local/lib/python3.13/dist-packages"
FILES = {
    **{f"demo/{letter}.bin": os.urandom(40_000) for letter in "abcdefgh"},
    **{f"demo/inner/{number}.py": f"import imp\n# {number}\n" for number in range(40)},
    "demo-1.0.data/scripts/tool": "#!python\n",
    "demo-1.0.data/data/share/demo.txt": "about",
}
Made = list[list[tuple[Entry, bytes | None]]]


class Compiler:
    """Implements ``site.Compiler``: bytecode that is easily told apart."""

    key = "a compiler"

    def compile(self, files: list[tuple[str, bytes]], *, checked: bool) -> tuple[tuple[str, bytes], ...]:
        return tuple((f"{path.rpartition('/')[0]}/__pycache__/{path.rpartition('/')[2]}c", b"c") for path, _ in files)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    found = DiskStore(tmp_path / "store")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a hundred kilobytes were large."""
    monkeypatch.setattr(module, "LARGEST", 100_000)
    monkeypatch.setattr(module, "SMALLEST", 10_000)
    monkeypatch.setattr(module, "BIG", 10_000)
    monkeypatch.setattr(writers, "_WORTH_IT", 0)


def put(store: DiskStore, wheel: tuple[str, bytes]) -> Artifact:
    with store.writer() as writer:
        writer.write(wheel[1])
        digest, size = writer.commit()
    return Artifact(name="demo", version="1.0", filename=wheel[0], digest=digest, size=size)


def make(
    store: DiskStore,
    wheel: tuple[str, bytes],
    *,
    taken: int = 50,
    helped: bool = False,
    site: Site | None = None,
    told: list[Descriptor] | None = None,
) -> tuple[Layer, ...]:
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    site = site or Site(make_base(), Compiler(), observer=Observing)
    ready = (lambda layer: None) if told is None else told.append
    helper = (lambda: ProcessHelper(store)) if helped else None
    return make_layers([put(store, wheel)], site, store, quiet, taken=taken, ready=ready, helper=helper).layers


def read(store: DiskStore, layers: tuple[Layer, ...]) -> Made:
    def rows(layer: Layer) -> list[tuple[Entry, bytes | None]]:
        return read_layer(
            layer.descriptor, store, lambda found: [(entry, file and file.read()) for entry, file in found]
        )

    return [rows(layer) for layer in layers]


def files(made: Made) -> dict[str, bytes | None]:
    return {entry.path: data for rows in made for entry, data in rows if entry.kind is not Kind.DIRECTORY}


# What other layers there are where a large wheel has one: room is kept for all groups of small ones, and one more.
FULL = BUDGET - 2 * GROUPS - 2
WHEEL = make_wheel("demo", "1.0", files=FILES)


def test_together_they_are_the_layer_that_it_would_be(store: DiskStore, tmp_path: Path) -> None:
    layers = make(store, WHEEL)
    assert [layer.comment for layer in layers] == [f"demo 1.0 ({part} of 4)" for part in range(1, 5)]
    made = read(store, layers)
    other = DiskStore(tmp_path / "other")
    # An image that has no room for more layers.
    (whole,) = make(other, WHEEL, taken=FULL)
    assert whole.comment == "demo 1.0"
    assert files(made) == files(read(other, (whole,)))
    assert sum(len([row for row in rows if row[0].kind is not Kind.DIRECTORY]) for rows in made) == len(files(made))
    for rows in made:
        paths = [entry.path for entry, _ in rows]
        assert paths == sorted(paths)
        # Each is a layer by itself: it has all folders that its files are in.
        assert {path.rpartition("/")[0] for path in paths} - {""} <= set(paths)
    # Bytecode lies with its sources.
    at = {path: number for number, rows in enumerate(made) for path in files([rows])}
    assert {at[f"{SITE}/demo/inner/__pycache__/{number}.pyc"] for number in range(40)} <= {
        at[f"{SITE}/demo/inner/{number}.py"] for number in range(40)
    }
    sizes = [layer.descriptor.size for layer in layers]
    assert max(sizes) < 2 * min(sizes)


def test_who_makes_them_does_not_matter(store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Descriptor] = []
    layers = make(store, WHEEL, told=told)
    # In whichever order, each as soon as it is made.
    assert sorted(str(layer.digest) for layer in told) == sorted(str(layer.descriptor.digest) for layer in layers)
    asked: list[str] = []
    run = ProcessHelper.run

    def counted(self: ProcessHelper, work: Any, order: Order, progress: Any) -> Any:
        asked.append(order.comment)
        return run(self, work, order, progress)

    monkeypatch.setattr(ProcessHelper, "run", counted)
    assert make(DiskStore(tmp_path / "helped"), WHEEL, helped=True) == layers
    assert 1 <= len(asked) < 4
    other = DiskStore(tmp_path / "unobserved")
    plain = make(other, WHEEL, site=Site(make_base(), Compiler()))
    assert plain == layers


def test_what_was_made_is_not_made_again(store: DiskStore) -> None:
    layers = make(store, WHEEL)
    assert [layer.kept for layer in make(store, WHEEL)] == [True] * 4
    gone = layers[2].descriptor.digest
    (store.path / "blobs/sha256" / gone.hex).unlink()
    again = make(store, WHEEL)
    assert [layer.descriptor for layer in again] == [layer.descriptor for layer in layers]
    assert [layer.kept for layer in again] == [True, True, False, True]


def test_another_number_of_parts_is_another_layer(store: DiskStore) -> None:
    """An image with less room: none of the four is taken for the one or the two."""
    four = make(store, WHEEL)
    two = make(store, WHEEL, taken=FULL - 1)
    (one,) = make(store, WHEEL, taken=FULL)
    assert (len(four), len(two)) == (4, 2)
    assert files(read(store, two)) == files(read(store, four)) == files(read(store, (one,)))


def test_what_is_wrong_in_one_part_ends_all(store: DiskStore) -> None:
    name, data = WHEEL
    at = data.index(FILES["demo/f.bin"][:20])  # type: ignore[arg-type]
    with pytest.raises(UnsafeWheel, match=r"demo/f\.bin"):
        make(store, (name, data[: at + 5] + bytes([data[at + 5] ^ 1]) + data[at + 6 :]), helped=True)
    assert list((store.path / "tmp").iterdir()) == []


@pytest.mark.parametrize(("around", "parts"), [(30_000, 3), (100, 1)])
def test_a_file_that_is_larger_than_a_part(store: DiskStore, around: int, parts: int) -> None:
    """It is not divided, and what is small beside it is no layer of its own."""
    wheel = {"demo/a.bin": os.urandom(around), "demo/b.so": os.urandom(500_000), "demo/c.bin": os.urandom(around)}
    made = read(store, make(store, make_wheel("demo", "1.0", files=wheel)))
    assert len(made) == parts
    assert [path for rows in made for path in files([rows]) if "/demo/" in path] == [f"{SITE}/{path}" for path in wheel]


def test_both_processes_make_a_part_that_is_larger_than_the_others(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_WORTH_READING", 200_000)
    streamed: list[int] = []
    stream = ProcessHelper.stream

    def counted(self: ProcessHelper, work: Any, argument: Any) -> Any:
        streamed.append(len(argument[1]))
        return stream(self, work, argument)

    monkeypatch.setattr(ProcessHelper, "stream", counted)
    monkeypatch.setattr(ahead, "_WORTH_IT", 1)
    wheel = {"demo/a.bin": os.urandom(30_000), "demo/b.so": os.urandom(500_000), "demo/c.bin": os.urandom(30_000)}
    assert len(make(store, make_wheel("demo", "1.0", files=wheel), helped=True)) == 3
    assert streamed == [1]


def test_what_came_of_a_damaged_wheel_is_not_kept(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_LARGE", 0)
    artifact = put(store, WHEEL)
    path = store.path / "blobs/sha256" / artifact.digest.hex
    data = path.read_bytes()
    at = data.index(FILES["demo/f.bin"][:20])  # type: ignore[arg-type]
    path.write_bytes(data[: at + 5] + bytes([data[at + 5] ^ 1]) + data[at + 6 :])
    again = DiskStore(store.path)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    with pytest.raises(DamagedEntry):
        make_layers([artifact], Site(make_base()), again, quiet, taken=50)
    assert not list(store.path.glob("maps/*/*"))
    again.close()


@given(
    st.dictionaries(st.text("ab/", min_size=1), st.integers(0, 50), max_size=30), st.integers(1, 9), st.integers(0, 60)
)
def test_borders(sizes: dict[str, int], number: int, smallest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALLEST", smallest)
        begins = borders(sizes.items(), number)
    assert begins[0] == ""
    assert list(begins) == sorted(set(begins))
    assert len(begins) <= number
    parts = divided(((path, path) for path in sizes), begins)
    assert [path for part in parts for path in sorted(part)] == sorted(sizes)
    # None without a file, but the first where there is none at all.
    assert all(parts) or not sizes
    held = [sum(sizes[path] for path in part) for part in parts]
    assert len(parts) == 1 or min(held) >= smallest
    if smallest == 0:
        assert max(held) <= sum(held) / number + max(sizes.values(), default=0)


def test_bytecode_is_where_its_source_is() -> None:
    begins = borders([("d/a.py", 9), ("d/n.so", 9), ("d/z.py", 9)], 3)
    assert len(begins) == 1
    paths = ["d/__pycache__/a.cpython-313.pyc", "d/a.py", "d/z.py", "d/__pycache__/z.cpython-313.opt-1.pyc", "d/n.so"]
    assert divided(((path, path) for path in paths), ("", "d/n.so")) == [paths[:2], paths[2:]]


def artifact(name: str, size: int) -> Artifact:
    return Artifact(name=name, version="1", filename=f"{name}-1-py3-none-any.whl", digest=Digest("0" * 64), size=size)


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 64 << 20)
    monkeypatch.setattr(module, "BIG", 4 << 20)
    rows = [artifact("large", 64 << 20), artifact("larger", (64 << 20) + 1), artifact("largest", 300 << 20)]

    def numbers(taken: int, *more: Artifact) -> dict[str, int]:
        groups = group([*rows, *more], taken)
        found = spread(groups, taken)
        assert list(found) == list(groups)
        return {members[0].name: number for members, number in found.items()}

    assert numbers(50) == {"large": 1, "larger": 2, "largest": 5}
    # The largest first, where there is little room; small ones change nothing.
    few = FULL - 5
    assert numbers(few) == {"large": 1, "larger": 1, "largest": 4}
    assert numbers(few, *(artifact(f"small{number}", 9) for number in range(90))).items() >= numbers(few).items()
    assert numbers(few - 1) == {"large": 1, "larger": 1, "largest": 5}
    assert numbers(few - 2) == {"large": 1, "larger": 2, "largest": 5}
    assert set(numbers(200).values()) == {1}
