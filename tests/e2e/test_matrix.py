"""The published script says one digest for each example."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.network]


def test_every_pair_meets(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    import digests

    values = digests.axes({"3.11": "", "3.13": ""}, ["none", "bubblewrap", "docker"])
    rows = digests.pairwise(values)
    names = list(values)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            met = {(row[one], row[other]) for row in rows}
            assert met == {(a, b) for a in values[one] for b in values[other]}
    assert len(rows) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("example", ["hello", "web", "data", "native"])
def test_one_digest(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    import digests

    assert [len(seen) for seen in digests.digests([example], tmp_path / "locks").values()] == [1]
