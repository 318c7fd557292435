"""RUN: what fails when the app runs, seen in the files and then in a container."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from derived import Derive, rules
from factories.image import Files

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
SITE = "usr/local/lib/python3.13/dist-packages"

# What main.py does, the rule, what Python says, and what mends it.
PAINS = {
    "a shell": (
        "import subprocess\nsubprocess.run('echo fine', shell=True, check=True)\n",
        "RUN001",
        "No such file or directory: '/bin/sh'",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(\"fine\")'], check=True)\n",
    ),
    "a shell that fails silently": (
        "import os, sys\nsys.exit('status %d' % os.system('true'))\n",
        "RUN001",
        "status 32512",
        "print('fine')\n",
    ),
    "a program": (
        "import subprocess\nsubprocess.run(['git', '--version'], check=True)\n",
        "RUN002",
        "No such file or directory: 'git'",
        "import subprocess\nsubprocess.run(['python3', '-c', 'print(\"fine\")'], check=True)\n",
    ),
    "a module that Python 3.13 does not have": (
        "import telnetlib\n",
        "RUN003",
        "No module named 'telnetlib'",
        "try:\n    import telnetlib\nexcept ImportError:\n    print('fine')\n",
    ),
    "a module that the base leaves out": (
        "import tkinter\n",
        "RUN003",
        "No module named",
        "import sqlite3\nprint('fine')\n",
    ),
    "a requirement that is not installed": (
        "import requests\n",
        "RUN003",
        "No module named 'requests'",
        "import urllib.request\nprint('fine')\n",
    ),
    "a typing error": (
        "def f(:\n    pass\n",
        "RUN010",
        "SyntaxError: invalid syntax",
        "def f():\n    print('fine')\nf()\n",
    ),
    "a return too many": ("return 1\n", "RUN010", "SyntaxError: 'return' outside function", "print('fine')\n"),
    "a zone": (
        "import zoneinfo\nzoneinfo.ZoneInfo('Europe/Atlantis')\n",
        "RUN006",
        "No time zone found with key Europe/Atlantis",
        "import zoneinfo\nzoneinfo.ZoneInfo('Europe/Kiev')\nprint('fine')\n",
    ),
    "a locale": (
        "import locale\nlocale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\n",
        "RUN007",
        "unsupported locale setting",
        "import locale\nlocale.setlocale(locale.LC_ALL, 'C.UTF-8')\nprint('fine')\n",
    ),
}


@pytest.mark.parametrize("pain", PAINS)
def test_pains_of_the_app(derive: Derive, findings: Findings, run_in_docker: Run, pain: str) -> None:
    text, rule, message, _ = PAINS[pain]
    broken = derive("debian13", {"app/main.py": text}, Cmd=["/app/main.py"])
    assert [row for row in rules(findings(broken)) if row.startswith("RUN")] == [rule]
    done = run_in_docker(broken)
    assert done.returncode != 0
    assert message in done.stderr


def test_the_same_mended(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    mended = "".join(better for _, _, _, better in PAINS.values())
    image = derive("debian13", {"app/main.py": mended}, Cmd=["/app/main.py"])
    assert [row for row in rules(findings(image)) if row.startswith("RUN")] == []
    assert run_in_docker(image).stdout == "fine\n" * len(PAINS)


# Sources beside main.py, what that is, and what Python says.
OWN = {
    "a name that is gone": ({"api.py": "x = 1\n"}, "from api import main\n", "cannot import name 'main' from 'api'"),
    "a module that is no package": ({"api.py": ""}, "import api.sub\n", "'api' is not a package"),
    "a module that is gone": ({"api/__init__.py": ""}, "from api.sub import x\n", "No module named 'api.sub'"),
    "a script of a package": ({"api.py": ""}, "from .api import x\n", "attempted relative import with no known parent"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", OWN)
def test_what_the_app_imports_of_itself(derive: Derive, findings: Findings, run_in_docker: Run, case: str) -> None:
    beside, main, message = OWN[case]
    files = {f"app/{name}": text for name, text in beside.items()} | {"app/main.py": main}
    broken = derive("debian13", files, Cmd=["/app/main.py"])
    assert rules(findings(broken), "error") == ["RUN011"]
    assert message in run_in_docker(broken).stderr


@pytest.mark.slow
def test_code_as_an_argument(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    broken = derive("debian13", {"app/x": ""}, Cmd=["-c", "from api import main; main()"], WorkingDir="/app")
    assert rules(findings(broken), "error") == ["RUN003"]
    assert "No module named 'api'" in run_in_docker(broken).stderr
    main = {"app/api.py": "def main():\n    print('fine')\n"}
    mended = derive("debian13", main, Cmd=["-c", "from api import main; main()"], WorkingDir="/app")
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


# Modules that are not there, and are not missed.
HONEST = """\
import os, sys, types
try:
    import uvloop
except ImportError:
    uvloop = None
else:
    from uvloop import install
match sys.platform:
    case "win32":
        import winreg
for name in ():
    import never
while os.environ.get("DEBUGGER"):
    import debugger
"--debug" in sys.argv and __import__("ipdb")
print("fine")
sys.exit(0)
import behind
"""


def test_modules_that_are_not_missed(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    image = derive("debian13", {"app/main.py": HONEST}, Cmd=["/app/main.py"])
    assert rules(findings(image)) == []
    assert run_in_docker(image).stdout == "fine\n"


def test_modules_that_are_found_elsewhere(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    """No file tells of them: whatever is said of them is no error."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped.py", "")
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    files: Files = {
        f"{SITE}/z.pth": "import sys; sys.path.append('/srv')\n",
        "srv/hidden.py": "",
        "opt/x.zip": archive.getvalue(),
        "opt/a/both/__init__.py": extend,
        "opt/b/both/__init__.py": extend,
        "opt/b/both/__main__.py": "import hidden, zipped\nprint('fine')\n",
    }
    env = ["PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "LANG=C.UTF-8"]
    env.append("PYTHONPATH=/opt/x.zip:/opt/a:/opt/b")
    image = derive("debian13", files, Cmd=["-m", "both"], Env=env)
    assert rules(findings(image), "error") == []
    assert run_in_docker(image).stdout == "fine\n"


def installed(folder: Path, *requirements: str) -> dict[str, bytes]:
    """The files of real distributions, as pip --target puts them into a site directory."""
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "-q", "--target", folder, "--no-deps", *requirements],
        check=True,
    )
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {f"{SITE}/{path.relative_to(folder)}": path.read_bytes() for path in files}


@pytest.mark.network
def test_a_package_without_pkg_resources(
    derive: Derive, findings: Findings, run_in_docker: Run, tmp_path: Path
) -> None:
    """fs imports pkg_resources, which setuptools had before 82."""
    wants = ("fs==2.4.16", "six", "appdirs")
    main = {"app/main.py": "import fs\nprint('fine')\n"}
    late = derive("debian13", installed(tmp_path / "late", *wants, "setuptools>=82") | main, Cmd=["/app/main.py"])
    found = [row for row in findings(late) if row["rule"].startswith("RUN")]
    assert {(row["rule"], row["owner"]) for row in found} == {("RUN004", "fs 2.4.16")}
    assert f"/{SITE}/fs/__init__.py" in [row["path"] for row in found]
    assert "which setuptools 8" in found[0]["evidence"]
    assert "No module named 'pkg_resources'" in run_in_docker(late).stderr
    early = derive("debian13", installed(tmp_path / "early", *wants, "setuptools<81") | main, Cmd=["/app/main.py"])
    assert [row for row in rules(findings(early)) if row.startswith("RUN")] == []
    assert run_in_docker(early).stdout == "fine\n"


@pytest.mark.network
def test_a_package_that_looks_for_git(derive: Derive, findings: Findings, run_in_docker: Run, tmp_path: Path) -> None:
    files = installed(tmp_path / "git", "GitPython", "gitdb", "smmap") | {"app/main.py": "import git\nprint('fine')\n"}
    broken = derive("debian13", files, Cmd=["/app/main.py"])
    assert [row for row in rules(findings(broken)) if row.startswith("RUN")] == ["RUN005"]
    assert "Bad git executable" in run_in_docker(broken).stderr
    env = ["PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "GIT_PYTHON_REFRESH=quiet"]
    mended = derive("debian13", files, Cmd=["/app/main.py"], Env=env)
    assert [row for row in rules(findings(mended)) if row.startswith("RUN")] == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_no_temporary_directory(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    main = {"app/main.py": "import tempfile\ntempfile.mkdtemp()\nprint('fine')\n"}
    broken = derive("debian13", main, {".wh.tmp": b""}, Cmd=["/app/main.py"], WorkingDir="/")
    found = [row for row in rules(findings(broken)) if row.startswith("RUN")]
    assert "No usable temporary directory" in run_in_docker(broken, options=["--read-only"]).stderr
    assert found == []  # Debian has /var/tmp; it is read-only here, which no file tells
    assert run_in_docker(broken, options=["--read-only", "--tmpfs=/tmp"]).stdout == "fine\n"
