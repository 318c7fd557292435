"""Every recipe that builds, from its sdist, on both Debian bases: built, checked, and its smoke test run by Docker.

``python benchmarks/recipes.py [--only NAME,…] [--suite SUITE] [--cache-dir DIR] [--write]`` prints a table;
``--write`` puts it into benchmarks/recipes.md.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from dpbuild.stages import recipes

HERE = Path(__file__).parent
SUITES = ("debian12", "debian13")
# What a smoke test needs beside the project itself, and what of it has to be built, too.
BESIDE = {"psycopg-c": ["psycopg[c]"], "xmlsec": ["lxml"]}
BUILT_TOO = {"xmlsec": ["lxml"]}
# The bindings are for one version of the library, which is the suite's.
PINS = {("gdal", "debian12"): "gdal==3.6.2", ("gdal", "debian13"): "gdal==3.10.3"}


@dataclass
class Row:
    """One line of the table. Seconds are those of the first build; sizes in bytes."""

    name: str
    suite: str
    version: str = ""
    seconds: float = 0.0
    packages: int = 0
    added: str = ""
    outcome: str = ""
    findings: str = ""


def dpbuild(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dpbuild", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def project(folder: Path, name: str, suite: str) -> None:
    recipe = recipes.shipped(name)
    assert recipe is not None
    wanted = [PINS.get((name, suite), name), *BESIDE.get(name, ())]
    built = [name, *BUILT_TOO.get(name, ())]
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "smoke"\nversion = "1"\ndependencies = {json.dumps(wanted)}\n'
        f'[tool.dpbuild]\nbase = "compose:{suite}:nonroot"\nplatforms = ["linux/amd64"]\napp = "none"\n'
        f'no-binary = {json.dumps(built)}\nentrypoint = ["-c", {json.dumps(recipe.smoke)}]\n'
    )


def last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or [""])[-1]


def run(name: str, suite: str, cache: Path, logs: Path) -> Row:
    row = Row(name, suite)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        project(folder, name, suite)
        out = folder / ".dpbuild/image"
        began = time.monotonic()
        done = dpbuild("build", folder, "--cache-dir", cache, "-o", out, "--load", "--metadata-file", folder / "m.json")
        row.seconds = time.monotonic() - began
        (logs / f"{name}-{suite}.log").write_text(done.stderr)
        if done.returncode:
            row.outcome = f"{done.returncode}: {last(done.stderr)}"
            return row
        lock = tomllib.loads((folder / "pylock.dpbuild.toml").read_text())
        row.version = next(each["version"] for each in lock["packages"] if each["name"] == name)
        row.packages = sum(len(each["packages"]) for each in lock["tool"]["dpbuild"].get("runtime-packages", []))
        if found := re.search(r"([\d.]+) MB on top of", done.stderr):
            row.added = found[1]
        image = json.loads((folder / "m.json").read_text())["outputs"]
        reference = next(each["reference"] for each in image if each["kind"] == "docker")
        smoke = subprocess.run(
            ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", reference.removeprefix("docker-daemon:")],
            capture_output=True,
            text=True,
            check=False,
        )
        row.outcome = "passed" if smoke.returncode == 0 else f"failed: {last(smoke.stderr)}"
        checked = dpbuild("check", f"oci:{out}", "--cache-dir", cache)
        row.findings = "no error" if checked.returncode == 0 else f"{checked.returncode}: {last(checked.stdout)}"
        if smoke.returncode or checked.returncode:
            with (logs / f"{name}-{suite}.log").open("a") as log:
                log.write(smoke.stderr + checked.stdout + checked.stderr)
    return row


def table(rows: list[Row]) -> str:
    lines = [
        "| project | version | suite | Debian packages | MB on top of the base | smoke test | `check` | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.version} | {row.suite} | {row.packages} | {row.added} | {row.outcome} | {row.findings} | "
        f"{row.seconds:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--suite", choices=SUITES)
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    every = [name for name in recipes.names() if (recipe := recipes.shipped(name)) and recipe.build.packages]
    chosen = given.only.split(",") if given.only else every
    with tempfile.TemporaryDirectory() as scratch:
        cache = given.cache_dir or Path(scratch) / "cache"
        logs = given.logs or Path(scratch)
        logs.mkdir(parents=True, exist_ok=True)
        rows = []
        for name in chosen:
            for suite in (given.suite,) if given.suite else SUITES:
                rows.append(run(name, suite, cache, logs))
                print(f"{name} {suite}: {rows[-1].outcome} ({rows[-1].seconds:.0f} s)", file=sys.stderr, flush=True)
    print(table(rows))
    if given.write:
        path = HERE / "recipes.md"
        head = path.read_text().partition("\n| project")[0] if path.exists() else "# Recipes\n"
        machine = f"dpbuild {version('dpbuild')}, {platform.machine()}"
        head = re.sub(r"\n\*\*Run:\*\*.*\n", "", head).rstrip()
        path.write_text(f"{head}\n\n**Run:** {machine}.\n\n{table(rows)}\n")
    return int(any(row.outcome != "passed" or row.findings != "no error" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
