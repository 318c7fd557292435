"""ABI and LIB: real wheels and libraries where they do not belong, and what Python says of them."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from derived import Derive, rules
from factories.image import File, Files, Link
from machinery import Ran
from wheels import Unpack

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
SITES = {"debian12": "usr/local/lib/python3.11/dist-packages", "debian13": "usr/local/lib/python3.13/dist-packages"}
NATIVE = "x86_64-linux-gnu"


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Packages (requirement, Python, platform) on a suite, and what is said of them."""

    suite: str = "debian13"
    wheels: tuple[tuple[str, str, str], ...]
    rule: str
    severity: str = "error"
    evidence: str
    program: str
    message: str
    mended: tuple[tuple[str, str, str], ...]


MANYLINUX = "manylinux2014_x86_64"
CASES = {
    "another minor": Broken(
        wheels=(("numpy==1.26.4", "3.12", MANYLINUX),),
        rule="ABI001",
        evidence="it is for Python 3.12 (cpython-312-x86_64-linux-gnu), the interpreter is Python 3.13.",
        program="import numpy",
        message="No module named 'numpy.core._multiarray_umath'",
        mended=(("numpy==2.2.6", "3.13", MANYLINUX),),
    ),
    "another machine": Broken(
        wheels=(
            ("cryptography==46.0.3", "3.13", "manylinux2014_aarch64"),
            ("cffi==2.0.0", "3.13", MANYLINUX),
            ("pycparser==2.23", "3.13", ""),
        ),
        rule="ABI002",
        evidence="it is for aarch64, the interpreter for x86_64",
        program="import cryptography.fernet",
        message="_rust.abi3.so: cannot open shared object file: No such file or directory",
        mended=(
            ("cryptography==46.0.3", "3.13", MANYLINUX),
            ("cffi==2.0.0", "3.13", MANYLINUX),
            ("pycparser==2.23", "3.13", ""),
        ),
    ),
    "another libc": Broken(
        wheels=(
            ("cryptography==46.0.3", "3.13", "musllinux_1_2_x86_64"),
            ("cffi==2.0.0", "3.13", MANYLINUX),
            ("pycparser==2.23", "3.13", ""),
        ),
        rule="ABI003",
        evidence="it needs libc.musl-x86_64.so.1, which is musl's, the base has glibc 2.41",
        program="import cryptography.fernet",
        message="libc.musl-x86_64.so.1: cannot open shared object file: No such file or directory",
        mended=(
            ("cryptography==46.0.3", "3.13", MANYLINUX),
            ("cffi==2.0.0", "3.13", MANYLINUX),
            ("pycparser==2.23", "3.13", ""),
        ),
    ),
    "free-threaded": Broken(
        wheels=(("markupsafe==3.0.3", "3.13t", MANYLINUX),),
        rule="ABI004",
        severity="warning",
        evidence="it is for a free-threaded Python (cpython-313t-x86_64-linux-gnu)",
        program="import markupsafe._speedups",
        message="No module named 'markupsafe._speedups'",
        mended=(("markupsafe==3.0.3", "3.13", MANYLINUX),),
    ),
    "a library of the system": Broken(
        wheels=(("pyodbc==5.3.0", "3.13", MANYLINUX),),
        rule="LIB001",
        evidence="needs libodbc.so.2, which is nowhere that the dynamic loader looks; import pyodbc fails",
        program="import pyodbc",
        message="libodbc.so.2: cannot open shared object file: No such file or directory",
        mended=(),
    ),
    "a driver in pieces": Broken(
        wheels=(("psycopg==3.2.12", "3.13", ""), ("typing-extensions==4.15.0", "3.13", "")),
        rule="LIB004",
        evidence='import psycopg fails: find_library("pq") finds nothing',
        program="import psycopg",
        message="no pq wrapper available",
        mended=(
            ("psycopg==3.2.12", "3.13", ""),
            ("psycopg-binary==3.2.12", "3.13", MANYLINUX),
            ("typing-extensions==4.15.0", "3.13", ""),
        ),
    ),
    "python-magic": Broken(
        wheels=(("python-magic==0.4.27", "3.13", ""),),
        rule="LIB004",
        evidence='import magic fails: find_library("magic"), dlopen("libmagic.so.1") finds nothing',
        program="import magic",
        message="failed to find libmagic",
        mended=(),
    ),
    "pyzbar": Broken(
        wheels=(("pyzbar==0.1.9", "3.13", ""), ("pillow==12.0.0", "3.13", "manylinux_2_28_x86_64")),
        rule="LIB004",
        severity="warning",
        evidence='import pyzbar.wrapper fails: find_library("zbar") finds nothing',
        program="import pyzbar.pyzbar",
        message="Unable to find zbar shared library",
        mended=(("pillow==12.0.0", "3.13", "manylinux_2_28_x86_64"),),
    ),
    "sounddevice": Broken(
        wheels=(
            ("sounddevice==0.5.3", "3.13", ""),
            ("cffi==2.0.0", "3.13", MANYLINUX),
            ("pycparser==2.23", "3.13", ""),
        ),
        rule="LIB004",
        evidence='import sounddevice fails: find_library("portaudio") finds nothing',
        program="import sounddevice",
        message="PortAudio library not found",
        mended=(
            ("cffi==2.0.0", "3.13", MANYLINUX),
            ("pycparser==2.23", "3.13", ""),
        ),
    ),
}


# Wheels of tens of megabytes.
SLOW = ("another minor",)


@pytest.mark.parametrize("name", [pytest.param(row, marks=[pytest.mark.slow] * (row in SLOW)) for row in CASES])
def test_wheels(derive: Derive, findings: Findings, run_in_docker: Run, unpack: Unpack, name: str) -> None:
    case = CASES[name]

    def image(wheels: tuple[tuple[str, str, str], ...]) -> str:
        files: Files = {"app/main.py": "print('fine')\n"}
        for requirement, python, platform in wheels:
            files |= unpack(SITES[case.suite], requirement, python=python, platform=platform)
        return derive(case.suite, files, Cmd=["/app/main.py"])

    broken = image(case.wheels)
    rows = findings(broken)
    assert rules(rows) == [case.rule], rows
    (row,) = [row for row in rows if row["severity"] != "note"]
    assert row["severity"] == case.severity
    assert case.evidence in row["evidence"]
    assert row["owner"].partition(" ")[0] == case.wheels[0][0].partition("==")[0]
    done = run_in_docker(broken, "-c", case.program)
    assert done.returncode == 1
    assert case.message in done.stderr
    mended = image(case.mended)
    assert rules(findings(mended)) == []
    if case.mended and case.program.split()[1].partition(".")[0] in case.mended[0][0]:
        assert run_in_docker(mended, "-c", case.program).returncode == 0


def test_a_newer_library_on_an_older_base(
    derive: Derive,
    findings: Findings,
    run_in_docker: Run,
    base_layout: Callable[[str], object],
    trixie_file: Callable[[str], bytes],
) -> None:
    """trixie's SQLite on bookworm, as COPY --from would bring it."""
    library = f"usr/lib/{NATIVE}/libsqlite3.so.0"
    sqlite = trixie_file(f"/usr/lib/{NATIVE}/libsqlite3.so.0")
    broken = derive("debian12", {library: Link("libsqlite3.so.9"), f"usr/lib/{NATIVE}/libsqlite3.so.9": File(sqlite)})
    rows = [row for row in findings(broken) if row["rule"].startswith(("ABI", "LIB"))]
    assert rules(rows) == ["LIB002"]
    assert "wants GLIBC_2.38 of libm.so.6, " in rows[0]["evidence"]
    assert "has GLIBC_2.35; import _sqlite3 fails" in rows[0]["evidence"]
    done = run_in_docker(broken, "-c", "import sqlite3")
    assert "version `GLIBC_2.38' not found" in done.stderr
    assert rules([row for row in findings(derive("debian12")) if row["rule"].startswith("LIB")]) == []


@pytest.fixture
def trixie_file(dpbuild: Callable[..., Ran], base_layout: Callable[[str], object]) -> Callable[[str], bytes]:
    """A file of Debian 13's base."""
    import gzip
    import io
    import json
    import tarfile
    from pathlib import Path

    folder = Path(str(base_layout("debian13")))

    def read(digest: str) -> bytes:
        return (folder / "blobs/sha256" / digest.partition(":")[2]).read_bytes()

    def get(path: str) -> bytes:
        manifest = json.loads(read(json.loads((folder / "index.json").read_bytes())["manifests"][0]["digest"]))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(read(layer["digest"])))) as archive:
                for row in archive:
                    if f"/{row.name.lstrip('./')}" == path and (row.isfile() or row.issym()):
                        if row.issym():
                            return get(os.path.normpath(os.path.join(os.path.dirname(path), row.linkname)))
                        content = archive.extractfile(row)
                        assert content is not None
                        return content.read()
        raise AssertionError(path)

    return get


def test_find_library_on_debian_12_finds_nothing_at_all(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    source = "from ctypes.util import find_library\nname = find_library('z')\nif name is None:\n    raise ImportError('no zlib')\n"
    for suite, expected in (("debian12", ["LIB004"]), ("debian13", [])):
        image = derive(suite, {f"{SITES[suite]}/zlibber/__init__.py": source})
        rows = [row for row in findings(image) if row["rule"].startswith("LIB")]
        assert rules(rows) == expected
        assert (run_in_docker(image, "-c", "import zlibber").returncode == 1) is bool(expected)
        if rows:
            assert (
                "libz.so.1 is there; find_library asks /sbin/ldconfig, which the image does not have"
                in rows[0]["evidence"]
            )
            assert "ld.so.cache" in rows[0]["fix"]


def test_the_debian_package_is_named(derive: Derive, findings: Findings, unpack: Unpack) -> None:
    files = unpack(SITES["debian12"], "pyodbc==5.3.0", python="3.11", platform=MANYLINUX)
    (row,) = [row for row in findings(derive("debian12", files)) if row["rule"] == "LIB001"]
    assert row["fix"].startswith('runtime-packages = ["libodbc2"] in [tool.dpbuild]')


@pytest.mark.slow
def test_a_base_without_what_a_bundled_library_needs(
    derive: Derive, findings: Findings, run_in_docker: Run, unpack: Unpack
) -> None:
    """lightgbm loads its library by a path that it computes, and that needs the base's libgomp."""
    files = unpack(SITES["debian13"], "lightgbm==4.6.0", platform="manylinux_2_28_x86_64")
    for requirement in ("numpy==2.2.6", "scipy==1.15.3"):
        files |= unpack(SITES["debian13"], requirement, platform=MANYLINUX)
    whole = derive("debian13", files)
    assert rules([row for row in findings(whole) if row["rule"].startswith("LIB")]) == []
    gone = derive("debian13", files, {f"usr/lib/{NATIVE}/.wh.libgomp.so.1": File(b"")})
    rows = [row for row in findings(gone) if row["rule"] == "LIB001" and row["severity"] == "error"]
    assert [row["path"].rpartition("/")[2] for row in rows] == ["lib_lightgbm.so"]
    assert "needs libgomp.so.1" in rows[0]["evidence"]
    assert "import lightgbm fails" in rows[0]["evidence"]
    assert "libgomp.so.1: cannot open shared object file" in run_in_docker(gone, "-c", "import lightgbm").stderr
