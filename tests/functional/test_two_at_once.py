"""Two builds at once share the store: what one of them fetches or makes, the other waits for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Bench
from factories.sdist import make_sdist, native_files
from factories.wheel import make_wheel
from wholeness import check_store


def start(bench: Bench, name: str, *arguments: object) -> "subprocess.Popen[str]":
    words = ["build", str(bench.project), "-o", str(bench.tmp / name), "--frozen", "--progress", "json"]
    return subprocess.Popen(
        [sys.executable, "-m", "dpbuild", *words, *map(str, arguments)],
        env={**os.environ, **bench.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip().rpartition("@")[2], err


def own_layers(err: str) -> tuple[int, int]:
    """How many layers are on top of the base's, and how many of them were there."""
    found = re.search(r"; (\d+) layers, (\d+) of them kept", err)
    assert found is not None, err
    return int(found[1]), int(found[2])


def test_neither_fetches_nor_makes_what_the_other_does(bench: Bench) -> None:
    names = [f"part{number}" for number in range(3)]
    for name in names:
        bench.index.add(make_wheel(name, "1.0", files={f"{name}/data.bin": os.urandom(6 << 20)}))
    bench.configure(dependencies=tuple(names))
    bench.lock()
    bench.index.delay = 0.5
    bench.index.requests.clear()
    one, two = start(bench, "one"), start(bench, "two")
    first, second = ended(one), ended(two)
    assert first[0] == second[0]
    wheels = [path for path in bench.index.requests if path.startswith("/files/") and path.endswith(".whl")]
    assert sorted(wheels) == sorted(set(wheels))
    assert len(wheels) == 3
    rows = [own_layers(err) for _, err in (first, second)]
    # Three of wheels; the app's own is a matter of milliseconds, which both may make.
    total = rows[0][0]
    assert total <= sum(layers - kept for layers, kept in rows) <= total + 1
    check_store(bench.cache)


def test_one_that_is_killed_holds_nobody_up(bench: Bench) -> None:
    bench.index.add(make_wheel("part", "1.0", files={"part/data.bin": os.urandom(1 << 20)}))
    bench.configure(dependencies=("part",))
    bench.lock()
    bench.index.delay = 60
    bench.index.requests.clear()
    one = start(bench, "one")
    while not any(path.endswith(".whl") for path in bench.index.requests):
        assert one.poll() is None
    two = start(bench, "two")
    line = ""
    assert two.stderr is not None
    while "waiting for another dpbuild" not in line:
        line = two.stderr.readline()
        assert line
    bench.index.delay = 0
    one.kill()
    one.communicate()
    ended(two)
    assert list((bench.cache / "tmp").glob("lock-*")) == []


@pytest.mark.slow
def test_an_sdist_is_built_once(bench: Bench, shared_cache: Path, need: object) -> None:
    bench.index.add(make_sdist("fast", "1.0", native_files("fast", before="import time; time.sleep(1)")))
    bench.configure(dependencies=("fast",))
    assert bench.run("lock", bench.project, "--builder", "bubblewrap").status == 0
    processes = [start(bench, name, "--builder", "bubblewrap") for name in ("one", "two")]
    found = [ended(process) for process in processes]
    assert found[0][0] == found[1][0]
    steps = [json.loads(line) for _, err in found for line in err.splitlines() if line.startswith("{")]
    assert sum(row["event"] == "done" and row.get("step") == "building fast 1.0" for row in steps) == 1
