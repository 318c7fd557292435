"""dpbuild beside a Dockerfile with BuildKit and uv: same base, same requirements, same registry, same machine, in turn.

Needs a Docker engine, ``docker-registry`` and the package index that pip is configured for. What is measured is build
and push together, by the wall clock; what is told is medians and their ratio.

    python benchmarks/compare.py --runs 3 --write        # benchmarks/compare.json, the table and the plot
"""

import argparse
import base64
import contextlib
import hashlib
import http.server
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DOCKER = os.environ.get("DOCKER", "/usr/bin/docker")
DPBUILD = [sys.executable, "-m", "dpbuild"]
PACKAGES = [
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "lxml",
    "pillow",
    "fastapi",
    "sqlalchemy",
    "uvicorn",
    "cryptography",
    "pydantic",
    "httpx",
    "requests",
    "jinja2",
    "orjson",
    "pyyaml",
    "click",
]
GOALS = {
    "cold, no bytecode": 15,
    "cold, bytecode on both sides": 3,
    "one dependency changed": 50,
    "one app line changed": 3,
    "nothing changed": 2.5,
    "second project sharing 90 %": 20,
    "a wheel of 190 MB": 10,
    "pull by Docker": 1 / 1.15,
}


def call(*words: object, env: dict[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry of its own on loopback."""
    folder.mkdir(parents=True)
    address = f"127.0.0.1:{port()}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
        f"http:\n  addr: {address}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The wheels, for the Dockerfile's uv."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


class Bench:
    """Both sides, and what they share."""

    def __init__(self, tmp: Path, home: str) -> None:
        self.tmp = tmp
        self.store = {"DPBUILD_CACHE_DIR": str(tmp / "store")}
        self.home = home
        self.base = f"{home}/base:1"
        self.builder = f"{home}/builder:1"
        self.wheels = tmp / "wheels"
        self.wheels.mkdir()
        self.links = ""
        self.memory = 0

    def prepare(self) -> None:
        """The base, and a builder with uv and a shell on the same base."""
        common = {"env": self.store}
        call(
            *DPBUILD,
            "base",
            "compose",
            "debian13:nonroot",
            "--platform",
            "linux/amd64",
            "-t",
            self.base,
            "--push",
            **common,
        )
        tool = self.tmp / "builder"
        tool.mkdir()
        (tool / "pyproject.toml").write_text(
            '[project]\nname = "builder"\nversion = "1"\ndependencies = ["uv"]\n[tool.dpbuild]\n'
            'base = "compose:debian13:debug"\nplatforms = ["linux/amd64"]\napp = "none"\nbytecode = false\n'
        )
        call(*DPBUILD, "build", tool, "-t", self.builder, "--push", "-q", **common)
        call(DOCKER, "pull", "-q", self.base)
        call(DOCKER, "pull", "-q", self.builder)

    def project(self, name: str, packages: list[str], *, bytecode: bool = False, find_links: bool = False) -> Path:
        """A project, locked, and the same for the Dockerfile."""
        folder = self.tmp / name
        (folder / "app").mkdir(parents=True)
        rows = ", ".join(f'"{row}"' for row in packages)
        links = f'find-links = ["{self.wheels}"]\n' if find_links else ""
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "1"\ndependencies = [{rows}]\n[tool.dpbuild]\n'
            f'base = "{self.base}"\nplatforms = ["linux/amd64"]\nbytecode = {str(bytecode).lower()}\n'
            f'app = "none"\nfiles = [{{from = "app", to = "/app"}}]\nworkdir = "/app"\nevidence = false\n{links}'
            'entrypoint = ["/app/main.py"]\n[tool.dpbuild.check]\nignore = ["ALL"]\n'
        )
        self.edit(folder, "first")
        call(*DPBUILD, "lock", folder, "-q", env=self.store)
        locked = tomllib.loads((folder / "pylock.dpbuild.toml").read_text())["packages"]
        (folder / "requirements.txt").write_text("".join(f"{row['name']}=={row['version']}\n" for row in locked))
        shutil.copy(HERE / "peer" / "Dockerfile", folder / "Dockerfile")
        if not find_links:
            target = ["--python-version", "3.13", "--only-binary", ":all:", "--no-deps", "--disable-pip-version-check"]
            platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(41, 16, -1)] + ["manylinux2014_x86_64"]
            target += [word for row in platforms for word in ("--platform", row)]
            call(
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                *target,
                "-d",
                self.wheels,
                "-r",
                folder / "requirements.txt",
            )
        return folder

    def edit(self, folder: Path, text: str) -> None:
        (folder / "app" / "main.py").write_text(f"print({text!r})\n")

    # the two sides: seconds for build and push

    def ours(self, folder: Path, tag: str) -> float:
        words = [*DPBUILD, "build", str(folder), "--frozen", "-t", tag, "--push", "-q"]
        began = time.monotonic()
        process = subprocess.Popen(words, env={**os.environ, **self.store}, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        if status:
            raise SystemExit(f"{' '.join(words)} failed")
        self.memory = max(self.memory, usage.ru_maxrss // 1024)
        return seconds

    def peers(self, folder: Path, tag: str, *, cold: bool = False, bytecode: bool = False) -> float:
        words = [DOCKER, "build", "-q", "--network", "host", "-t", tag, "--build-arg", f"BASE={self.base}"]
        words += ["--build-arg", f"BUILDER={self.builder}", "--build-arg", f"WHEELS={self.links}"]
        words += ["--build-arg", "COMPILE=--compile-bytecode"] if bytecode else []
        words += ["--no-cache"] if cold else []
        began = time.monotonic()
        call(*words, folder, env={"DOCKER_BUILDKIT": "1"})
        call(DOCKER, "push", "-q", tag)
        return time.monotonic() - began

    def forget_layers(self) -> None:
        """Everything but wheels and the base: what a cold build with wheels at hand finds."""
        for kind in ("layers", "facts"):
            call(*DPBUILD, "cache", "clean", "--only", kind, env=self.store)
        for name in ("layers", "images"):
            shutil.rmtree(self.tmp / "store" / "maps" / name, ignore_errors=True)


Row = tuple[list[float], list[float]]


def measure(bench: Bench, runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    rows: dict[str, Row] = {name: ([], []) for name in GOALS}
    plain = bench.project("plain", PACKAGES)
    changed = bench.project("changed", [*PACKAGES[:-3], "orjson<3.11", *PACKAGES[-2:]])
    compiled = bench.project("compiled", PACKAGES, bytecode=True)
    second = bench.project("second", [*PACKAGES[:-2], "rich", "attrs"])
    big = big_project(bench)
    with serving(bench.wheels) as bench.links:
        say("warming uv's cache")
        for folder in (plain, changed, second, big):
            call(DOCKER, "build", "-q", "--network", "host", "--build-arg", f"BASE={bench.base}",
                 "--build-arg", f"BUILDER={bench.builder}", "--build-arg", f"WHEELS={bench.links}", folder,
                 env={"DOCKER_BUILDKIT": "1"})  # fmt: skip
        for folder in (plain, changed, compiled, second, big):
            call(*DPBUILD, "build", folder, "-o", bench.tmp / "warm", "-q", env=bench.store)
        bench.memory = 0
        for number in range(runs):
            one(bench, rows, number, plain, changed, compiled, second, big)
            say(
                f"run {number + 1} of {runs}: "
                + ", ".join(f"{k} {v[0][-1]:.2f}/{v[1][-1]:.2f}" for k, v in rows.items())
            )
    return {
        name: {"dpbuild": statistics.median(ours), "dockerfile": statistics.median(peer), "runs": len(ours)}
        for name, (ours, peer) in rows.items()
    }


def one(bench: Bench, rows: dict[str, Row], number: int, *projects: Path) -> None:
    plain, changed, compiled, second, big = projects
    mark = f"# {number} {time.time()}\n"
    with registry(bench.tmp / f"registry-{number}") as place:

        def both(name: str, folder: Path, repo: str, *, cold: bool = False, bytecode: bool = False) -> None:
            if cold:
                bench.forget_layers()
            rows[name][0].append(bench.ours(folder, f"{place}/ours/{repo}"))
            rows[name][1].append(bench.peers(folder, f"{place}/peer/{repo}", cold=cold, bytecode=bytecode))

        both("cold, no bytecode", plain, "plain:1", cold=True)
        both("nothing changed", plain, "plain:1")
        bench.edit(plain, f"edited {mark}")
        both("one app line changed", plain, "plain:1")
        # What an earlier run made of the other locks is forgotten; what this project needs is there.
        bench.forget_layers()
        bench.ours(plain, f"{place}/ours/plain:1")
        swapped = ("pylock.dpbuild.toml", "requirements.txt")
        kept = {name: (plain / name).read_text() for name in swapped}
        for name in swapped:
            shutil.copy(changed / name, plain / name)
        with (plain / "requirements.txt").open("a") as file:
            file.write(mark)
        both("one dependency changed", plain, "plain:2")
        for name, text in kept.items():
            (plain / name).write_text(text)
        with (second / "requirements.txt").open("a") as file:
            file.write(mark)
        both("second project sharing 90 %", second, "second:1")
        both("cold, bytecode on both sides", compiled, "compiled:1", cold=True, bytecode=True)
        both("a wheel of 190 MB", big, "big:1", cold=True)
        for side, name in enumerate(("ours", "peer")):
            tag = f"{place}/{name}/plain:1"
            call(DOCKER, "rmi", "-f", *call(DOCKER, "images", "-q", f"{place}/*/*").split(), check=False)
            began = time.monotonic()
            call(DOCKER, "pull", "-q", tag)
            rows["pull by Docker"][side].append(time.monotonic() - began)


def big_project(bench: Bench) -> Path:
    """A project whose only dependency is one wheel of real libraries and sources, some 190 MB of it."""
    name = "big_wheel-1.0-py3-none-any.whl"
    record = []
    size = 0
    with zipfile.ZipFile(bench.wheels / name, "w", zipfile.ZIP_DEFLATED) as out:

        def put(path: str, data: bytes) -> None:
            out.writestr(path, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{path},sha256={digest},{len(data)}\n")

        for copy in range(4):
            for wheel in sorted(bench.wheels.glob("*.whl")):
                if wheel.name == name:
                    continue
                with zipfile.ZipFile(wheel) as source:
                    for row in source.infolist():
                        if row.filename.endswith((".so", ".py")) and size < 700_000_000:
                            # The copies of a file differ, so that nothing is found twice.
                            put(
                                f"big_wheel/{copy}/{wheel.stem}/{row.filename}",
                                source.read(row) + f"\n#{copy}".encode(),
                            )
                            size += row.file_size
        info = "big_wheel-1.0.dist-info"
        put(f"{info}/METADATA", b"Metadata-Version: 2.1\nName: big-wheel\nVersion: 1.0\n")
        put(f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
    return bench.project("big", ["big-wheel"], find_links=True)


def table(found: dict[str, Any]) -> str:
    lines = ["| case | dpbuild | Dockerfile | ratio | goal |", "|---|---|---|---|---|"]
    for name, row in found["cases"].items():
        ratio = row["dockerfile"] / row["dpbuild"]
        lines.append(
            f"| {name} | {row['dpbuild']:.2f} s | {row['dockerfile']:.2f} s | {ratio:.1f} | {GOALS[name]:.3g} |"
        )
    return "\n".join(lines)


def plot(found: dict[str, Any]) -> str:
    """The ratios as bars on a logarithmic scale, the goals as marks."""
    import math

    rows = []
    for number, (name, row) in enumerate(found["cases"].items()):
        y = 24 + 26 * number
        width = 200 + 160 * math.log10(row["dockerfile"] / row["dpbuild"])
        goal = 400 + 160 * math.log10(GOALS[name])
        rows.append(
            f'<text x="190" y="{y + 13}" text-anchor="end">{name}</text>'
            f'<rect x="200" y="{y}" width="{max(2.0, width):.1f}" height="18" fill="#3b75af"/>'
            f'<line x1="{goal:.1f}" y1="{y - 2}" x2="{goal:.1f}" y2="{y + 20}" stroke="#c33" stroke-width="2"/>'
            f'<text x="{208 + max(2.0, width):.1f}" y="{y + 13}">{row["dockerfile"] / row["dpbuild"]:.1f} ×</text>'
        )
    height = 40 + 26 * len(rows)
    style = 'font-family="sans-serif" font-size="12"'
    title = '<text x="200" y="14">how many times faster than the Dockerfile (red: goal)</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}" {style}>'
    return f"{head}{title}{''.join(rows)}</svg>\n"


def versions() -> dict[str, str]:
    lines = call(*DPBUILD, "--version").split()
    return {
        "dpbuild": lines[-1],
        "python": platform.python_version(),
        "docker": call(DOCKER, "version", "--format", "{{.Server.Version}}").strip(),
        "uv": call(sys.executable, "-m", "uv", "--version").split()[1],
        "cores": str(os.cpu_count()),
        "unpigz": str(bool(shutil.which("unpigz"))).lower(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep compare.json, compare.md and compare.svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dpbuild-bench-") as name, registry(Path(name) / "home") as home:
        bench = Bench(Path(name), home)
        bench.prepare()
        cases = measure(bench, given.runs, lambda text: print(text, file=sys.stderr))
        sizes = sum(path.stat().st_size for path in bench.wheels.glob("*.whl"))
        found = {
            "date": time.strftime("%Y-%m-%d"),
            "versions": versions(),
            "wheels": {"count": len(list(bench.wheels.glob("*.whl"))), "bytes": sizes},
            "peak memory, MB": bench.memory,
            "cases": cases,
        }
    print(table(found))
    if given.write:
        (HERE / "compare.json").write_text(json.dumps(found, indent=1) + "\n")
        (HERE / "compare.svg").write_text(plot(found))
        words = ", ".join(f"{key} {value}" for key, value in found["versions"].items())
        (HERE / "compare.md").write_text(
            f"# Beside a Dockerfile\n\n{found['date']}; {words}; peak memory {found['peak memory, MB']} MB.\n"
            f"Medians of {given.runs} runs of build and push; made by `make bench`.\n\n"
            f"{table(found)}\n\n![ratios](compare.svg)\n"
        )


if __name__ == "__main__":
    main()
