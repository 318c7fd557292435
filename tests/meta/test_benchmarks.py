"""The benchmark's report: what was measured fewer times says so, and what was not says that."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest


@pytest.fixture
def beside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "beside"]:
        del sys.modules[name]


@pytest.mark.usefixtures("beside")
def test_the_report(tmp_path: Path) -> None:
    from beside import report
    from beside.machine import Sample

    def pair(ours: float, peer: float) -> tuple[Sample, Sample]:
        return Sample(seconds=ours, memory=50_000_000, sent=10), Sample(seconds=peer, parts={"build": peer, "push": 0})

    results = {"cold": [pair(2, 30), pair(1, 20)], "line": [pair(1, 1)] * 3, "torch": []}
    setting = {"runs": 2, "quick": False, "versions": {"uv": "1"}, "notes": ["no torch"], "checked": ""}
    report.write(tmp_path, results, setting)
    page = (tmp_path / "compare.md").read_text()
    # The ratio is the median of the pairs' ratios, not the ratio of medians.
    assert "| 1.50 s | 25.0 s (25.0 + 0.00) | **17.5** (15-20) | 15 | 2 |" in page
    assert "| **1** (1-1) | 3 | 3 (1 of 2 rounds) |" in page
    assert "| torch for CPU, cold | | | not measured" in page
    assert "- no torch\n" in page
    names = [row.text or "" for row in ET.fromstring((tmp_path / "compare.svg").read_text()).iter()]
    assert any("17.5" in name for name in names)


@pytest.mark.usefixtures("beside")
def test_time_that_is_over_ends_a_program() -> None:
    from beside.machine import Clock, OutOfTime, run, timed

    words: list[object] = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(OutOfTime):
        run(words, Clock(0.005))
    with pytest.raises(OutOfTime):
        timed(words, Clock(0.005), {}, "sleeping", watched=True)
