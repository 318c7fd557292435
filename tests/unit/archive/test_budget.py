"""What all layers of an image may take together."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from factories.image import Files, make_tar

from dpbuild.archive import budget
from dpbuild.archive.budget import Budget
from dpbuild.archive.read import ReadError, entries, open_layer


def read(shared: Budget, files: Files) -> int:
    tar, raw = open_layer(io.BytesIO(make_tar(files)), limit=1 << 30)
    return sum(1 for _ in shared.counted(entries(tar), raw))


def test_entries_of_all_layers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MOST_ENTRIES", 5)
    shared = Budget(0)

    assert read(shared, {"a": b"", "b": b"", "c": b""}) == 3
    assert read(shared, {"d": b"", "e": b""}) == 2
    with pytest.raises(ReadError, match="with it, the layers have more than 5 entries"):
        read(shared, {"f": b""})


def test_bytes_of_all_layers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SMALLEST_LIMIT", 25_000)

    shared = Budget(0)
    read(shared, {"a": b"x"})
    read(shared, {"b": b"x"})
    with pytest.raises(ReadError, match="unpack to more than 25000 bytes"):
        read(shared, {"c": b"x"})
    larger = Budget(1000)
    for name in "abcd":
        read(larger, {name: b"x"})


def test_it_stops_within_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MOST_ENTRIES", 100)
    monkeypatch.setattr(budget, "_BATCH", 10)
    tar, raw = open_layer(io.BytesIO(make_tar({f"f{n}": b"" for n in range(1000)})), limit=1 << 30)
    seen = []

    with pytest.raises(ReadError):
        seen.extend(entry.path for entry, _ in Budget(0).counted(entries(tar), raw))

    assert 90 <= len(seen) <= 110


def test_layers_that_are_read_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MOST_ENTRIES", 4 * 300)
    monkeypatch.setattr(budget, "_BATCH", 7)
    shared = Budget(0)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda n: read(shared, {f"{n}/{m}": b"" for m in range(300)}), range(4)))

    assert counts == [300] * 4
    with pytest.raises(ReadError):
        read(shared, {"one more": b""})
