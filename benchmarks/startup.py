"""What bytecode gains at start: an image with it and the same without, in turn, in Docker.

    python benchmarks/startup.py [RUNS] > benchmarks/startup.md

*web* is ``examples/web``: from ``docker start`` to the first answer, less what the same container takes for an
interpreter that does nothing, since starting a container costs the same with and without. *imports* imports modules of
the standard library, timed by the interpreter in the container.
"""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCKER = os.environ.get("DOCKER", "/usr/bin/docker")
DPBUILD = [sys.executable, "-m", "dpbuild"]
IMPORTS = """import time; began = time.perf_counter()
import asyncio, ssl, json, email, sqlite3, xml.etree, concurrent.futures
print(time.perf_counter() - began)"""
SUITES = ("debian12", "debian13")


def call(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip()


def images(folder: Path, suite: str) -> dict[str, str]:
    """The example with and without bytecode, in the engine; by image id."""
    made = {}
    for name, value in (("with", "true"), ("without", "false")):
        project = folder / f"{suite}-{name}"
        skip = shutil.ignore_patterns(".dpbuild", "__pycache__", "pylock.*")
        shutil.copytree(ROOT / "examples" / "web", project, ignore=skip)
        file = project / "pyproject.toml"
        rows = [row for row in file.read_text().splitlines() if not row.startswith(("base =", "bytecode ="))]
        head = rows.index("[tool.dpbuild]") + 1
        rows[head:head] = [f'base = "compose:{suite}:nonroot"', f"bytecode = {value}"]
        file.write_text("\n".join(rows) + "\n")
        words = ("--platform", f"linux/{call(DOCKER, 'version', '--format', '{{.Server.Arch}}')}", "-q")
        made[name] = call(*DPBUILD, "build", project, "--load", *words).removeprefix("docker-daemon:")
    return made


def timed(image: str) -> float:
    """Seconds that the imports take inside."""
    return float(call(DOCKER, "run", "--rm", "--entrypoint", "/usr/bin/python3", image, "-c", IMPORTS))


def started(image: str, *, answers: bool) -> float:
    """Seconds from the start of a container to its first answer, or to the end of a program that does nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-p", f"127.0.0.1:{port}:8000", image]
    nothing = ["--entrypoint", "/usr/bin/python3", image, "-c", "pass"]
    container = call(DOCKER, "create", *(options if answers else nothing))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        began = time.perf_counter()
        if not answers:
            call(DOCKER, "start", "-a", container)
            return time.perf_counter() - began
        call(DOCKER, "start", container)
        while time.perf_counter() - began < 60:
            try:
                with opener.open(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                    json.load(answer)
                    return time.perf_counter() - began
            except OSError:
                time.sleep(0.002)
        raise SystemExit(f"{image} does not answer")
    finally:
        call(DOCKER, "rm", "-f", container)


def measure(runs: int, suite: str, made: dict[str, str]) -> list[str]:
    """Rows of the table."""
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(runs):
        for name, image in made.items():
            nothing = min(started(image, answers=False) for _ in range(3))
            times.setdefault(("imports", name), []).append(timed(image))
            times.setdefault(("web", name), []).append(started(image, answers=True) - nothing)
    rows = []
    for case in ("web", "imports"):
        fast, slow = times[case, "with"], times[case, "without"]
        ratio = statistics.median(one / other for one, other in zip(slow, fast, strict=True))
        shown = [f"{statistics.median(row):.2f} s ({min(row):.2f}-{max(row):.2f})" for row in (slow, fast)]
        rows.append(f"| {case} | {suite} | {shown[0]} | {shown[1]} | {ratio:.1f} |")
    return rows


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = []
    with tempfile.TemporaryDirectory(prefix="dpbuild-startup-") as name:
        for suite in SUITES:
            made = images(Path(name), suite)
            rows += measure(runs, suite, made)
            call(DOCKER, "rmi", "-f", *made.values())
    engine = call(DOCKER, "version", "--format", "{{.Server.Version}}")
    print("# What bytecode gains at start\n")
    where = f"{os.cpu_count()} cores, Docker {engine}, {platform.machine()}"
    print(
        f"{time.strftime('%Y-%m-%d')}, {where}, medians of {runs} runs in turn. *web*: from `docker start` to the first"
    )
    print("answer, less the container's own start; *imports*: inside the container.")
    print("Made by `python benchmarks/startup.py`.\n")
    print(
        "| case | base | without bytecode (min-max) | with it (min-max) | ratio, pair by pair |\n|---|---|---|---|---|"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
