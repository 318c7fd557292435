"""One digest for each example, whatever surrounds the build: run it on two machines and compare.

Every pair of surroundings (time zone with locale, host Python with sandbox, …) meets in some build. The locks decide
what goes in, so the second machine needs those of the first: ``--locks FOLDER`` keeps them, or takes them from there.

    python benchmarks/digests.py --locks locks            # all examples
    python benchmarks/digests.py --locks locks hello web  # some
    python benchmarks/digests.py --locks locks --write    # digests.md

Host Pythons are found on PATH by their names (python3.11, python3.12, …); those that are missing are said to be.
"""

import argparse
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = ("pylock.dpbuild.toml", "pylock.dpbuild-build.toml")


def axes(pythons: dict[str, str], sandboxes: list[str]) -> dict[str, list[str]]:
    """What is varied."""
    return {
        "zone": ["UTC", "Asia/Tokyo", "America/St_Johns"],
        "locale": ["C", "C.UTF-8", "tr_TR.UTF-8"],
        "umask": ["022", "077", "000"],
        "hashseed": ["0", "42"],
        "folder": ["project", "a folder/with another name"],
        "order": ["forwards", "backwards"],
        "cores": ["all", "one"],
        "python": sorted(pythons),
        "sandbox": sandboxes,
        "store": ["cold", "warm", "offline"],
    }


def pairwise(values: dict[str, list[str]]) -> list[dict[str, str]]:
    """Few rows in which every value of an axis meets every value of every other, chosen greedily."""
    names = list(values)
    left = {
        (one, a, other, b)
        for one, other in itertools.combinations(names, 2)
        for a in values[one]
        for b in values[other]
    }
    rows = []
    while left:
        one, a, other, b = min(left)
        row = {one: a, other: b}
        for name in names:
            if name not in row:
                row[name] = max(values[name], key=lambda value: (_gain(left, row, name, value), value))
        left -= {(x, row[x], y, row[y]) for x, y in itertools.combinations(names, 2)}
        rows.append(row)
    return rows


def _gain(left: set[tuple[str, str, str, str]], row: dict[str, str], name: str, value: str) -> int:
    return sum(
        1 for other, known in row.items() if (other, known, name, value) in left or (name, value, other, known) in left
    )


def interpreters(folder: Path) -> dict[str, str]:
    """Every Python here of 3.11 or later, each with dpbuild in an environment of its own."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for minor in range(11, 16):
        name = f"3.{minor}"
        path = shutil.which(f"python{name}")
        if name in found or path is None:
            continue
        place = folder / f"python-{name}"
        try:
            subprocess.run([path, "-m", "venv", "--without-pip", place], check=True, capture_output=True)
            uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", place / "bin/python", ROOT]
            subprocess.run(uv, check=True, capture_output=True)
        except subprocess.CalledProcessError:
            continue  # a name that leads to no Python that works
        found[name] = str(place / "bin" / "python")
    return found


def sandboxes(example: str) -> list[str]:
    """What can build the example here; a compiler runs only where foreign code is kept apart."""
    found = [] if example == "native" else ["none"]
    found += ["bubblewrap"] if shutil.which("bwrap") else []
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0:
        found.append("docker")
    return found


def build(example: str, row: dict[str, str], pythons: dict[str, str], locks: Path, tmp: Path, warm: Path) -> str:
    """The digest of one build."""
    project = tmp / row["folder"] / example
    files = sorted(path for path in (ROOT / "examples" / example).rglob("*") if path.is_file())
    skip = {".dpbuild", "__pycache__", *LOCKS}
    for path in reversed(files) if row["order"] == "backwards" else files:
        inner = path.relative_to(ROOT / "examples" / example)
        if skip.isdisjoint(inner.parts):
            (project / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, project / inner)
    kept = locks / example
    for name in LOCKS:
        if (kept / name).exists():
            shutil.copy(kept / name, project / name)
    store = tmp / "cold" if row["store"] == "cold" else warm
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DPBUILD_", "LC_", "SOURCE_DATE"))}
    env |= {
        "TZ": row["zone"],
        "LANG": row["locale"],
        "PYTHONHASHSEED": row["hashseed"],
        "DPBUILD_CACHE_DIR": str(store),
    }
    command = [pythons[row["python"]], "-m", "dpbuild", "build", str(project), "-o", str(tmp / "image")]
    command += ["--builder", row["sandbox"], "--platform", "linux/amd64", "-q"]
    command += ["--offline"] if row["store"] == "offline" else []
    limits = f'umask {row["umask"]}; exec {"taskset 1 " if row["cores"] == "one" else ""}"$@"'
    done = subprocess.run(["sh", "-c", limits, "sh", *command], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{example} {row}: {done.stderr}")
    kept.mkdir(parents=True, exist_ok=True)
    for name in LOCKS:
        if (project / name).exists() and not (kept / name).exists():
            shutil.copy(project / name, kept / name)
    return done.stdout.strip().rpartition("@")[2]


def digests(
    examples: list[str], locks: Path, *, say: bool = False, table: list[str] | None = None
) -> dict[str, set[str]]:
    """Every digest that each example had; there should be one. ``table`` takes a row for each."""
    found: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory(prefix="dpbuild-digests-") as name:
        folder = Path(name)
        warm = folder / "warm"
        pythons = interpreters(folder)
        for example in examples:
            values = axes(pythons, sandboxes(example))
            rows = pairwise(values)
            plain = {key: value[0] for key, value in values.items()} | {"store": "warm"}
            seen = found.setdefault(example, set())
            for number, row in enumerate([plain, *rows]):
                tmp = folder / f"{example}-{number}"
                seen.add(build(example, row, pythons, locks, tmp, warm))
                shutil.rmtree(tmp)
            if say:
                print(f"{example}: {len(rows) + 1} builds, {', '.join(sorted(seen))}", flush=True)
            if table is not None:
                hosts = ", ".join(version(path) for _, path in sorted(pythons.items()))
                table.append(
                    f"| {example} | {len(rows) + 1} | {len(seen)} | {hosts} | {', '.join(values['sandbox'])} |"
                )
    return found


def version(python: str) -> str:
    """An interpreter's, with that of its zlib."""
    code = "import platform, zlib; print(platform.python_version(), '(zlib ' + zlib.ZLIB_RUNTIME_VERSION + ')')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def report(table: list[str]) -> str:
    """The page."""
    missing = [f"3.{minor}" for minor in range(11, 15) if not any(f" 3.{minor}." in row for row in table)]
    where = f"{os.cpu_count()} cores, {platform.machine()}, kernel {platform.release()}"
    lines = [
        "# One digest, whatever surrounds the build",
        "",
        f"{time.strftime('%Y-%m-%d')}, {where}. Each example was built in surroundings of which every",
        "pair met: time zone, locale, umask, hash seed, folder, order of files, cores, host Python, sandbox, cold",
        "and warm store, offline. Made by `python benchmarks/digests.py --locks FOLDER --write`.",
        "",
        "| example | builds | digests | host Pythons | sandboxes |",
        "|---|---|---|---|---|",
        *table,
        "",
        f"Host Pythons that were not here, so not run: {', '.join(missing) or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("examples", nargs="*", default=["hello", "web", "data", "native"])
    parser.add_argument("--locks", type=Path, required=True, help="where the locks are kept, or come from")
    parser.add_argument("--write", action="store_true", help="keep digests.md")
    given = parser.parse_args()
    table: list[str] = []
    found = digests(given.examples, given.locks.absolute(), say=True, table=table)
    if given.write:
        (Path(__file__).parent / "digests.md").write_text(report(table))
    if any(len(seen) != 1 for seen in found.values()):
        raise SystemExit("there is more than one digest")


if __name__ == "__main__":
    main()
