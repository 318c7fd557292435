"""What only shows while a program runs: each broken for real, what Python says, and the same image mended."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from derived import Derive, rules
from factories.image import File, Files, Folder
from machinery import ComposedBase

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Files]
SITE = "usr/local/lib/python3.13/dist-packages"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV = [PATH, "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "LANG=C.UTF-8"]


def main(source: str) -> Files:
    return {"app/main.py": File(source.encode())}


@dataclass(frozen=True)
class Case:
    """``at`` is where the broken image has the requirement, ``mended_at`` the other; ``select`` are groups."""

    rules: list[str]
    message: str
    source: str
    requirement: str = ""
    at: str = SITE
    mended_at: str = SITE
    config: dict[str, Any] = field(default_factory=dict)
    mend: dict[str, Any] = field(default_factory=dict)
    files: Files = field(default_factory=dict)
    without: str = "//"
    mended: Files = field(default_factory=dict)
    select: str = "ALL"


CASES = {
    "packages that Debian's Python does not look for (pain 7)": Case(
        ["LAY001", "RUN003"],
        "No module named 'six'",
        "import six\nprint('fine')\n",
        "six==1.17.0",
        at="usr/lib/python3.13/site-packages",
    ),
    "a .pth file on PYTHONPATH (pain 9)": Case(
        ["LAY004"],
        "No module named 'distutils'",
        "__import__('dis' + 'tutils')\nprint('fine')\n",
        "setuptools==80.9.0",
        at="deps",
        config={"Env": [*ENV, "PYTHONPATH=/deps"]},
        mend={"Env": ENV},
        select="LAY",
    ),
    "a wheel that was only unpacked (pain 10)": Case(
        ["LAY008"],
        "No module named 'unpacked'",
        "__import__('un' + 'packed')\nprint('fine')\n",
        files={f"{SITE}/unpacked-1.0.data/purelib/unpacked.py": File(b"")},
        mended={f"{SITE}/unpacked-1.0.data": File(b""), f"{SITE}/unpacked.py": File(b"")},
    ),
    "metadata that were stripped (pain 11)": Case(
        ["LAY007"],
        "PackageNotFoundError",
        "import importlib.metadata as m\nm.version('six')\nprint('fine')\n",
        "six==1.17.0",
        files={f"{SITE}/other/__init__.py": File(b"")},
        without="dist-info",
    ),
    "no certificates (pain 23)": Case(
        ["STA007"],
        "AssertionError: {'x509': 0, 'crl': 0, 'x509_ca': 0}",
        "import ssl\ns = ssl.create_default_context().cert_store_stats()\nassert s['x509_ca'], s\nprint('fine')\n",
        config={"Env": [PATH, "LANG=C.UTF-8"]},
        mend={"Env": ENV},
    ),
    "a user without a name (pain 25)": Case(
        ["STA010"],
        "OSError: No username set in the environment",
        "import getpass\ngetpass.getuser()\nprint('fine')\n",
        config={"User": "1234", "WorkingDir": "/"},
        mend={"Env": [*ENV, "HOME=/tmp", "USER=app"]},
    ),
    "no folder for temporary files (pain 26)": Case(
        ["STA015"],
        "No usable temporary directory found in",
        "import tempfile\ntempfile.gettempdir()\nprint('fine')\n",
        files={"tmp": Folder(0o755), "var/tmp": Folder(0o755)},
        config={"WorkingDir": "/"},
        mended={"tmp": Folder(0o1777)},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_broken_and_mended(
    derive: Derive, findings: Findings, run_in_docker: Run, install: Install, case: Case
) -> None:
    def files(folder: str, without: str) -> Files:
        rows = install(folder, case.requirement) if case.requirement else {}
        return {path: row for path, row in rows.items() if without not in path} | case.files | main(case.source)

    command = {"Cmd": ["/app/main.py"]}
    broken = derive("debian13", files(case.at, case.without), **command | case.config)
    found = findings(broken, "--select", case.select)
    notes = [row["rule"] for row in found if row["severity"] == "note" and row["rule"] in case.rules]
    assert sorted({*rules(found), *notes}) == case.rules, found
    done = run_in_docker(broken)
    assert done.returncode == 1
    assert case.message in done.stderr
    mended = derive("debian13", files(case.mended_at, "//") | case.mended, **command | case.config | case.mend)
    assert [row for row in findings(mended) if row["severity"] != "note" or row["rule"] in case.rules] == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_a_health_check_in_shell_form(derive: Derive, findings: Findings, run_in_docker: Run, registry: str) -> None:
    """Pain 19. What the engine noted of the check is asked for while the container runs."""
    sleep = {"Cmd": ["-c", "import time; time.sleep(60)"]}
    every = {"Interval": 10**9, "Timeout": 5 * 10**9, "Retries": 1}
    broken = derive("debian13", **sleep, Healthcheck={"Test": ["CMD-SHELL", "curl -f localhost"], **every})
    assert rules(findings(broken)) == ["STA013"]
    assert 'exec: "/bin/sh": stat /bin/sh: no such file or directory' in health(run_in_docker, broken, "unhealthy")
    test = ["CMD", "/usr/bin/python3", "-c", "print('all is well')"]
    mended = derive("debian13", **sleep, Healthcheck={"Test": test, **every})
    assert rules(findings(mended)) == []
    assert "all is well" in health(run_in_docker, mended, "healthy")


def health(run: Run, reference: str, state: str) -> str:
    """What the first health checks of an image said, once it has this state."""
    started = run(reference, options=("-d",))
    name = started.stdout.strip()
    try:
        for _ in range(100):
            done = subprocess.run(
                ["/usr/bin/docker", "inspect", "-f", "{{json .State.Health}}", name],
                capture_output=True,
                text=True,
                check=True,
            )
            told = json.loads(done.stdout)
            if told["Status"] == state:
                return str(told["Log"][0]["Output"])
            time.sleep(0.2)
        raise AssertionError(f"it is {told['Status']}")
    finally:
        subprocess.run(["/usr/bin/docker", "kill", name], check=False, capture_output=True)


def test_stale_bytecode(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    """Pain 27: the module is compiled with a timestamp by the base itself, then its source gets another time."""
    source = b"print('fine')\n"
    compiler = (
        "import importlib._bootstrap_external as b\n"
        f"print(b._code_to_timestamp_pyc(compile({source!r}, 'm.py', 'exec'), 1, {len(source)}).hex())"
    )
    pyc = bytes.fromhex(run_in_docker(derive("debian13"), "-c", compiler).stdout)
    files: Files = {f"{SITE}/m{number}.py": File(source, mtime=2) for number in range(20)}
    files |= {f"{SITE}/__pycache__/m{number}.cpython-313.pyc": File(pyc) for number in range(20)}
    broken = derive("debian13", files, Cmd=["-v", "-c", "import m1"])
    assert rules(findings(broken)) == ["STA001"]
    assert "bytecode is stale for 'm1'" in run_in_docker(broken).stderr
    fresh: Files = {f"{SITE}/m{number}.py": File(source, mtime=1) for number in range(20)}
    mended = derive("debian13", files | fresh, Cmd=["-v", "-c", "import m1"])
    assert rules(findings(mended)) == []
    done = run_in_docker(mended)
    assert f"code object from '/{SITE}/__pycache__/m1.cpython-313.pyc'" in done.stderr
    assert done.stdout == "fine\n"


def test_too_many_layers(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    """Pain 29."""
    layers: list[Files] = [{f"app/{number}": File(b"1")} for number in range(80)]
    broken = derive("debian13", *layers, main("print('fine')\n"), Cmd=["/app/main.py"])
    (row,) = (row for row in findings(broken) if row["rule"] == "SIZ001")
    assert row["severity"] == "error"
    done = run_in_docker(broken)
    assert done.returncode != 0
    assert "max depth exceeded" in done.stderr


def test_cuda_by_accident(derive: Derive, findings: Findings, install: Install) -> None:
    """Pain 29."""
    files = install(SITE, "nvidia-nvtx-cu12==12.8.90")
    assert rules(findings(derive("debian13", files), "--select", "SIZ")) == ["SIZ003"]
    assert rules(findings(derive("debian13", files, Env=[*ENV, "CUDA_VERSION=12.8"]), "--select", "SIZ")) == []


def test_half_of_another_c_library(
    derive: Derive, findings: Findings, run_in_docker: Run, composed_base: Callable[[str], ComposedBase]
) -> None:
    """Pain 12: a COPY of /lib from another suite. Python dies before it says anything of its own."""
    library = "usr/lib/x86_64-linux-gnu/libc.so.6"
    data = Path(composed_base("debian12").rootfs, "lib/x86_64-linux-gnu/libc.so.6").read_bytes()
    broken = derive("debian13", {library: data}, main("print('fine')\n"), Cmd=["/app/main.py"])
    (row,) = findings(broken, "--select", "LAY")
    assert (row["rule"], row["severity"], row["path"]) == ("LAY005", "error", f"/{library}")
    assert row["owner"].startswith("libc6 2.41")
    done = run_in_docker(broken)
    assert done.returncode != 0
    assert f"/{library.removeprefix('usr/')}: version `GLIBC_2.38' not found" in done.stderr


@pytest.mark.network
@pytest.mark.parametrize(
    "base",
    [
        pytest.param(f"{suite}:{variant}", marks=[] if variant in ("nonroot", "debug") else pytest.mark.slow)
        for suite in ("debian12", "debian13")
        for variant in ("latest", "nonroot", "debug", "debug-nonroot")
    ],
)
def test_nothing_is_wrong_with_the_bases(findings: Findings, base: str) -> None:
    assert findings(f"compose:{base}") == []
