"""``dpbuild check`` of images with 5, 50 and 500 MB of packages: cold, warm, and the memory that it takes.

python benchmarks/check.py --write       # benchmarks/check.md
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
DPBUILD = [sys.executable, "-m", "dpbuild"]
SETS = {
    "5 MB": ["click", "rich", "jinja2", "requests", "attrs"],
    "50 MB": ["numpy", "pillow", "lxml"],
    "500 MB": [
        "numpy",
        "pandas",
        "scipy",
        "scikit-learn",
        "pyarrow",
        "lxml",
        "pillow",
        "matplotlib",
        "statsmodels",
        "fastapi",
    ],
}


def run(words: list[str], store: Path) -> tuple[float, int]:
    """Seconds by the wall clock, and peak memory in MB."""
    began = time.monotonic()
    env = {**os.environ, "DPBUILD_CACHE_DIR": str(store)}
    process = subprocess.Popen([*DPBUILD, *words, "-q"], env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 70):
        raise SystemExit(f"dpbuild {' '.join(words)} failed")
    return time.monotonic() - began, usage.ru_maxrss // 1024


def unpacked(folder: Path) -> float:
    """The sum of the layers' unpacked sizes, in MB."""
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((folder / "blobs/sha256" / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    size = 0
    for layer in manifest["layers"]:
        with gzip.open(folder / "blobs/sha256" / layer["digest"].partition(":")[2]) as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
    return size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep check.md")
    given = parser.parse_args()
    lines = ["| packages | unpacked, with the base | cold | warm | memory |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="dpbuild-bench-") as name:
        tmp = Path(name)
        for label, packages in SETS.items():
            project = tmp / label.replace(" ", "")
            project.mkdir()
            rows = ", ".join(f'"{row}"' for row in packages)
            (project / "pyproject.toml").write_text(
                f'[project]\nname = "x"\nversion = "1"\ndependencies = [{rows}]\n[tool.dpbuild]\napp = "none"\n'
                'evidence = false\nbase = "compose:debian13:nonroot"\nplatforms = ["linux/amd64"]\nbytecode = false\n'
            )
            run(["build", str(project), "-o", str(tmp / "image")], tmp / "build")
            image = f"oci:{tmp / 'image'}"
            cold, warm, memory = [], [], 0
            for _ in range(given.runs):
                shutil.rmtree(tmp / "store", ignore_errors=True)
                took, peak = run(["check", image], tmp / "store")
                cold.append(took)
                memory = max(memory, peak)
                warm.append(run(["check", image], tmp / "store")[0])
            size = unpacked(tmp / "image")
            seconds = f"{statistics.median(cold):.2f} s | {statistics.median(warm):.2f} s"
            lines.append(f"| {label} | {size:.0f} MB | {seconds} | {memory} MB |")
            print(lines[-1], file=sys.stderr)
    print("\n".join(lines))
    if given.write:
        text = "\n".join(lines)
        (HERE / "check.md").write_text(
            f"# How long a check takes\n\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, medians of {given.runs}"
            f" runs of the whole process; cold: an empty store. Made by `python benchmarks/check.py`.\n\n{text}\n"
        )


if __name__ == "__main__":
    main()
