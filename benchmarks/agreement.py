"""Does ``dpbuild check`` say what really happens? Its errors against real imports, for widely used native packages.

    python benchmarks/agreement.py FOLDER [SUITE…] [--group NAME]… [--table FILE]

FOLDER keeps the images and what was found, so that a run that was interrupted goes on. For each suite and group of
packages an image is built on the composed base with the check ignored: once with no Debian packages on top, and once
with what the recipes add, where they add any. Then ``dpbuild check`` reads it, and ``run --import-all`` imports every
top-level module of every distribution in it, in Docker, one process each. An error of ABI or LIB names the import that
it says fails.
"""

import argparse
import dataclasses
import datetime
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpbuild.importing import import_all
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.wiring import Settings, World

GROUPS = {
    "crypto": "cryptography pynacl bcrypt argon2-cffi brotli zstandard lz4 regex msgpack protobuf grpcio lxml pillow",
    "system": "python-magic weasyprint sounddevice soundfile pyzbar psycopg pymupdf",
    "db": "psycopg2-binary psycopg[binary] pyodbc greenlet gevent uvloop pyzmq orjson pydantic-core",
    "cv": "opencv-python",
    "cv-headless": "opencv-python-headless",
    "science": "numpy scipy pandas matplotlib scikit-learn statsmodels numba h5py lightgbm",
    "arrow": "pyarrow polars duckdb netCDF4 shapely rasterio fiona pyproj",
    "ml": "tokenizers sentencepiece onnxruntime faiss-cpu",
    "loaders": "pyenchant wand cairosvg pysdl2 soundcard pylsl pyusb hidapi freetype-py rtree pygit2 pikepdf av",
    "built": "mysqlclient pycairo",
    # Only where pip's find-links has a wheel of it for the base: that of the index wants gigabytes of CUDA.
    "torch": "torch",
    "clients": "oracledb pymssql confluent-kafka psutil pyyaml aiohttp pygame gmpy2 tables rawpy pyqt6",
}
PAGE = """\
# Does `check` say what happens?

`python benchmarks/agreement.py FOLDER --table benchmarks/agreement.md` makes this page: images of {requested}
widely used packages with native code (and what they depend on) on the composed bases of both suites, with the
newest versions that the index has for each base's Python. `dpbuild check` reads them, and `dpbuild run
--import-all` imports every top-level module of every distribution in Docker, one process each. Without "with
recipes" nothing of Debian is on top of the base.

A failure is *missed* if an import fails by native code and no error of `check` names it; an error is *false*
if the module that it names can be imported.

{summary}

{table}
torch is in it where pip's find-links names a folder with a wheel for the base's Python; the wheel of the index
is for CUDA and needs several gigabytes of others. What submodules do when they are imported by themselves is
not compared: `check` has warnings for some (`pyzbar.pyzbar`, `numba.np.ufunc.tbbpool`), the imports of this
page are those of the top level.
"""
PLATFORM = "linux/amd64"
# What a failure is that has nothing to do with native code, by what Python says.
OTHERS = {
    r"No module named '(\w+)'": "it wants a distribution that it does not depend on",
    r"should be imported before": "it is only to be imported by psycopg",
}


@dataclass(frozen=True)
class Case:
    """One image: ``bare`` without the Debian packages that recipes would add."""

    suite: str
    group: str
    bare: bool

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.group}-{'bare' if self.bare else 'recipes'}"


def dpbuild(*arguments: object, check: bool = True, cwd: Path | None = None) -> str:
    command = [sys.executable, "-m", "dpbuild", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def recipes() -> list[str]:
    """The projects that get Debian packages at run time."""
    rows = (line.split() for line in dpbuild("recipes", "list").splitlines())
    return [row[0] for row in rows if "run" in row[1:4]]


def local(case: Case) -> Path | None:
    """A wheel of torch for the suite's Python in a folder that pip's find-links names."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    rows = [*re.findall(r"find-links='([^']*)'", said), os.environ.get("PIP_FIND_LINKS", "")]
    python = {"debian12": "cp311", "debian13": "cp313"}[case.suite]
    found = (path for row in rows for word in row.split() for path in Path(word).glob(f"torch-*-{python}-*_x86_64.whl"))
    return next(found, None)


def build(case: Case, folder: Path) -> Path:
    project = folder / case.name
    image = project / "image"
    if not image.exists():
        project.mkdir(parents=True, exist_ok=True)
        wheel = local(case) if case.group == "torch" else None
        words = [f"torch=={wheel.name.split('-')[1]}"] if wheel else GROUPS[case.group].split()
        (project / "requirements.txt").write_text("\n".join(words) + "\n")
        lists = "".join(
            f"[recipes.{name}.run]\npackages = []\ndebian12 = {{packages = []}}\ndebian13 = {{packages = []}}\n"
            for name in recipes()
            if case.bare
        )
        (project / "dpbuild.toml").write_text(
            f'base = "compose:{case.suite}:nonroot"\napp = "none"\nbytecode = false\nevidence = false\n'
            f'entrypoint = ["-V"]\n'
            + (f'find-links = ["{wheel.parent}"]\n' if wheel else "")
            + f'[check]\nignore = ["ALL"]\n{lists}'
        )
        dpbuild("build", project, "--platform", PLATFORM, "-o", image)
    return image


def measure(case: Case, folder: Path, world: World) -> dict[str, Any]:
    """What check says and what happens; kept beside the image."""
    image = build(case, folder)
    truth = folder / case.name / "imports.json"
    if not truth.exists():
        rows = import_all(parse(f"oci:{image}"), Platform.parse(PLATFORM), "docker", world)
        truth.write_text(json.dumps([dataclasses.asdict(row) for row in rows]))
    said = dpbuild("check", f"oci:{image}", "--json", "--platform", PLATFORM, check=False)
    findings = [row for row in json.loads(said) if row["rule"].startswith(("ABI", "LIB"))]
    return {"imports": json.loads(truth.read_text()), "findings": findings}


@dataclass(frozen=True)
class Row:
    """One distribution in one image: its modules that fail, with what Python says, those that check says fail, and
    those that fail in a module of another distribution of which check says so.
    """

    distribution: str
    failed: dict[str, str]
    predicted: dict[str, str]
    through: dict[str, str]

    @property
    def verdict(self) -> str:
        unexpected = {name: text for name, text in self.failed.items() if name not in self.predicted}
        native = {name: text for name, text in unexpected.items() if not explained(text) and name not in self.through}
        if native:
            return "MISSED " + ", ".join(native)
        if false := [name for name in self.predicted if name not in self.failed]:
            return "FALSE " + ", ".join(false)
        if self.predicted:
            return "fails, as said"
        if self.through:
            return f"fails by {', '.join(sorted(set(self.through.values())))}, as said of it"
        return "fails, not by native code" if self.failed else "works, as said"


def explained(problem: str) -> str:
    return next((why for pattern, why in OTHERS.items() if re.search(pattern, problem)), "")


def compare(result: dict[str, Any]) -> Iterator[Row]:
    predicted: dict[str, str] = {}
    for row in result["findings"]:
        for name in re.findall(r"import (\S+) fails", row["evidence"]) if row["severity"] == "error" else ():
            if "." not in name:
                predicted.setdefault(name, f"{row['rule']} {row['evidence']}")
    distributions: dict[str, list[dict[str, str]]] = {}
    for row in result["imports"]:
        distributions.setdefault(row["distribution"], []).append(row)
    for name, rows in sorted(distributions.items()):
        modules = {row["module"] for row in rows}
        yield Row(
            distribution=name,
            failed={row["module"]: said(row) for row in rows if row["problem"]},
            predicted={module: text for module, text in predicted.items() if module in modules},
            through={
                row["module"]: other for row in rows if row["problem"] for other in predicted if within(other, row)
            },
        )


def within(module: str, row: dict[str, str]) -> bool:
    """Whether the traceback goes through this module, which is another."""
    return module != row["module"] and re.search(rf"-packages/{re.escape(module)}(/|\.py)", row["output"]) is not None


def said(row: dict[str, str]) -> str:
    """The line with the exception, which may have more lines."""
    lines = [line for line in row["output"].splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return lines[-1] if lines else row["problem"]


def table(results: dict[Case, dict[str, Any]]) -> str:
    """What does not simply work, one line for each distribution and outcome; then everything else by name."""
    rows: dict[tuple[str, str, str, str], list[Case]] = {}
    quiet: dict[str, str] = {}
    for case, result in results.items():
        for row in compare(result):
            if row.verdict == "works, as said":
                quiet.setdefault(row.distribution.partition(" ")[0], row.distribution)
                continue
            failed = "; ".join(f"`{module}`: {text}" for module, text in row.failed.items()) or "all work"
            why = "; ".join(text for text in row.predicted.values()) or "no error"
            # Lines of sources, and what only one suite lacks, are in the finding itself.
            why = re.sub(r" \(line \d+\)|; find_library asks [^;]*", "", why)
            others = sorted({text for problem in row.failed.values() if (text := explained(problem))})
            verdict = "; ".join([row.verdict, *(others if not row.predicted else [])])
            rows.setdefault((row.distribution, failed[:160], why, verdict), []).append(case)
    out = ["| distribution | images | what Python says | what `check` says | verdict |", "|---|---|---|---|---|"]
    for (name, failed, why, verdict), cases in sorted(rows.items()):
        where = ", ".join(f"{case.suite}{'' if case.bare else ' with recipes'}" for case in cases)
        out.append(f"| {name} | {where} | {cell(failed)} | {cell(why)} | {verdict} |")
    names = ", ".join(version for _, version in sorted(quiet.items()))
    text = (
        "In these all imports work, and `check` has no error of ABI or LIB; those of the table, too, in other images:"
    )
    return "\n".join([*out, "", *textwrap.wrap(text, 120), "", *textwrap.wrap(names, 120)]) + "\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("suites", nargs="*", default=["debian13", "debian12"])
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    world = World(Settings(progress="none"))
    wanted = {name for row in dpbuild("recipes", "list").splitlines() for name in row.split()[:1]}
    results: dict[Case, dict[str, Any]] = {}
    for suite in given.suites:
        for group in given.group or GROUPS:
            names = {re.sub(r"\[.*", "", name) for name in GROUPS[group].split()}
            for bare in (True, False) if names & wanted else (True,):
                case = Case(suite, group, bare)
                if group == "torch" and local(case) is None:
                    continue
                results[case] = measure(case, given.folder, world)
                bad = [row for row in compare(results[case]) if row.verdict != "works, as said"]
                print(case.name, *(f"\n    {row.distribution}: {row.verdict}" for row in bad), flush=True)
    every = [row for result in results.values() for row in compare(result)]
    modules = sum(len(result["imports"]) for result in results.values())
    summary = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {len({row.distribution for row in every})} distributions,"
        f" {modules} imports in {len(results)} images:"
        f" {sum(row.verdict.startswith('MISSED') for row in every)} failures missed,"
        f" {sum(row.verdict.startswith('FALSE') for row in every)} errors where the import works."
    )
    print(summary)
    if given.table:
        requested = sum(len(names.split()) for names in GROUPS.values())
        given.table.write_text(PAGE.format(requested=requested, summary=summary, table=table(results)))


if __name__ == "__main__":
    main()
