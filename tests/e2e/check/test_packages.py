"""Packages and their records: stripped, for another Python, or with a program that lacks a library; and mended."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from derived import Derive, rules
from factories.image import File, Files
from machinery import Ran, in_process

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Files]
SITE = "usr/local/lib/python3.13/dist-packages"
COMMAND = ["/app/main.py"]


def main(source: str) -> Files:
    return {"app/main.py": File(source.encode())}


def noted(found: list[dict[str, str]], rule: str) -> list[dict[str, str]]:
    return [row for row in found if row["rule"] == rule]


@pytest.fixture
def packages(shared_cache: Path, tmp_path: Path) -> Callable[[str, str], set[str]]:
    """The names of what an SBOM of the image lists of one kind, as a scanner would find them."""

    def get(reference: str, kind: str) -> set[str]:
        listed = tmp_path / "sbom.json"
        words = ("sbom", reference, "--platform", "linux/amd64", "-o", str(listed))
        done = in_process(words, {"DPBUILD_CACHE_DIR": str(shared_cache)})
        assert done.status == 0, done.err
        rows = json.loads(listed.read_text())["components"]
        return {row["name"] for row in rows if row.get("purl", "").startswith(f"pkg:{kind}/")}

    return get


def test_no_records_of_the_base(
    derive: Derive, findings: Findings, run_in_docker: Run, packages: Callable[[str, str], set[str]]
) -> None:
    """Pain 28: the image runs as before, and nobody can tell what is in it."""
    program = main("print('fine')\n")
    stripped: Files = {"var/lib/dpkg/.wh.status.d": File(b"")}
    broken = derive("debian13", program, stripped, Cmd=COMMAND)
    (row,) = noted(findings(broken), "SUP006")
    assert row["severity"] == "note"
    assert run_in_docker(broken).stdout == "fine\n"
    assert packages(broken, "deb") == set()
    mended = derive("debian13", program, Cmd=COMMAND)
    assert noted(findings(mended), "SUP006") == []
    assert {"libc6", "libpython3.13-minimal"} <= packages(mended, "deb")


def test_distributions_without_a_record(
    derive: Derive, findings: Findings, run_in_docker: Run, install: Install
) -> None:
    """Pain 28: whose a file is can be told no more."""
    program = main("import importlib.metadata as m, six\nprint(m.files('six') is not None)\n")
    whole = install(SITE, "six==1.17.0")
    broken = derive(
        "debian13", program, {path: row for path, row in whole.items() if not path.endswith("RECORD")}, Cmd=COMMAND
    )
    (row,) = noted(findings(broken), "SUP007")
    assert (row["severity"], row["evidence"]) == ("note", "1 distributions without RECORD: six 1.17.0")
    assert run_in_docker(broken).stdout == "False\n"
    mended = derive("debian13", program, whole, Cmd=COMMAND)
    assert noted(findings(mended), "SUP007") == []
    assert run_in_docker(mended).stdout == "True\n"


def legacy(version: str, source: str, requires: str) -> Files:
    """A pure package as an installer leaves it."""
    info = f"{SITE}/legacy-{version}.dist-info"
    files = {
        f"{SITE}/legacy.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: legacy\nVersion: {version}\nRequires-Python: {requires}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "legacy.py,,\n",
    }
    return {path: File(text.encode()) for path, text in files.items()}


def test_a_package_that_was_chosen_for_an_older_python(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    """Pure Python, so nothing of the ABI is wrong; its metadata say that it is not for Python 3.13."""
    program = main("import legacy\nprint('fine')\n")
    old = legacy("1.0", "import asyncio\n\n@asyncio.coroutine\ndef main():\n    yield\n", ">=3.6,<3.11")
    broken = derive("debian13", program, old, Cmd=COMMAND)
    (row,) = noted(findings(broken), "LAY016")
    assert (row["severity"], row["owner"]) == ("warning", "legacy 1.0")
    assert "<3.11,>=3.6" in row["evidence"]
    assert "module 'asyncio' has no attribute 'coroutine'" in run_in_docker(broken).stderr
    mended = derive("debian13", program, legacy("2.0", "async def main():\n    pass\n", ">=3.6"), Cmd=COMMAND)
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


@pytest.mark.slow
def test_a_program_of_a_package_without_its_library(
    dpbuild: Callable[..., Ran], findings: Findings, run_in_docker: Run, tmp_path: Path
) -> None:
    """Playwright brings a Node.js, which wants libatomic; importing it works."""
    source = (
        "import pathlib, subprocess, playwright\n"
        "node = pathlib.Path(playwright.__file__).parent / 'driver' / 'node'\n"
        "print(subprocess.run([node, '--version'], capture_output=True, text=True))\n"
    )
    images = {}
    for name, more in (("broken", ""), ("mended", 'runtime-packages = ["libatomic1"]\n')):
        project = tmp_path / name
        project.mkdir()
        (project / "main.py").write_text(source)
        (project / "requirements.txt").write_text("playwright==1.65.2\n")
        config = f'base = "compose:debian13:nonroot"\nbytecode = false\nevidence = false\n{more}'
        (project / "dpbuild.toml").write_text(config)
        images[name] = tmp_path / f"{name}-image"
        dpbuild("build", project, "-o", images[name], "--platform", "linux/amd64")
    (row,) = noted(findings(f"oci:{images['broken']}"), "LIB005")
    assert row["path"].endswith("playwright/driver/node")
    assert "libatomic.so.1" in row["evidence"]
    assert "libatomic.so.1: cannot open shared object file" in run_in_docker(f"oci:{images['broken']}").stdout
    assert noted(findings(f"oci:{images['mended']}"), "LIB005") == []
    assert "returncode=0" in run_in_docker(f"oci:{images['mended']}").stdout
    assert rules(findings(f"oci:{images['mended']}"), "error") == []
