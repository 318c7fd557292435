"""RUN: the rules on images in memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories.image import File, Files, Link
from factories.subject import SITE, found, make_subject

from dpbuild.adapters.store import DiskStore
from dpbuild.stages.proof.elsewhere import extends
from dpbuild.stages.proof.reach import Modules


def record(name: str, *files: str) -> dict[str, str]:
    info = f"{SITE}/{name}-1.0.dist-info"
    rows = [*files, f"{name}-1.0.dist-info/METADATA", f"{name}-1.0.dist-info/RECORD"]
    return {
        f"{info}/METADATA": f"Name: {name}\nVersion: 1.0\n",
        f"{info}/RECORD": "".join(f"{row},,\n" for row in rows),
    }


MAIN = {"app/main.py": "import helper\n"}
RUNS = {"entrypoint": ("/usr/bin/python3.13", "/app/main.py")}


def rows(subject) -> list[tuple[str, str, str, str]]:
    return [(row.rule, str(row.severity), row.path, row.evidence) for row in found(subject, "RUN")]


def app(text: str, **more: str):
    return make_subject({"app/main.py": text, **{f"app/{name}.py": body for name, body in more.items()}}, **RUNS)


def test_nothing_wrong() -> None:
    subject = app("import os, json, helper\nfrom helper import x\nimport queue\n", helper="x = 1\n")
    assert rows(subject) == []


def test_a_shell() -> None:
    assert rows(app("import os\n\nos.system('ls')\n")) == [
        ("RUN001", "warning", "/app/main.py", "line 3: os.system; the image has no /bin/sh")
    ]
    with_shell = make_subject({"app/main.py": "import os\nos.system('ls')\n", "bin/sh": "x"}, **RUNS)
    assert rows(with_shell) == []


def test_a_program() -> None:
    assert rows(app("import subprocess\nsubprocess.run(['git', 'log'])\n")) == [
        ("RUN002", "warning", "/app/main.py", "line 2: it starts git, which the image lacks on PATH")
    ]
    there = {"app/main.py": "import subprocess\nsubprocess.run(['git', 'log'])\n", "usr/bin/git": "x"}
    assert rows(make_subject(there, **RUNS)) == []


def test_a_module_that_the_app_surely_imports() -> None:
    subject = app("import helper\n", helper="import imp\n")
    assert rows(subject) == [
        (
            "RUN003",
            "error",
            "/app/helper.py",
            "line 1: import imp, which Python 3.13 does not have any more; /app/main.py imports it",
        )
    ]


def test_a_module_that_the_app_may_import() -> None:
    """Not reached from what is started: only what Python itself used to have is told, as a warning."""
    subject = app("import os\n", other="import distutils.util\nimport pytest\n", setup="import setuptools\n")
    assert rows(subject) == [
        ("RUN003", "warning", "/app/other.py", "line 1: import distutils, which Python 3.13 does not have any more")
    ]
    assert rows(app("try:\n    import imp\nexcept ImportError:\n    pass\n")) == []
    assert rows(app("def f():\n    import requests\n")) == []


def test_a_requirement_that_was_forgotten() -> None:
    assert rows(app("import requests\n")) == [
        ("RUN003", "error", "/app/main.py", "line 1: import requests, which nothing in the image provides")
    ]


def test_distutils_of_setuptools() -> None:
    files = {"app/main.py": "import distutils\n", f"{SITE}/distutils-precedence.pth": "import os\n"}
    assert rows(make_subject(files, **RUNS)) == []


def test_modules_are_found_where_python_finds_them() -> None:
    files = {
        "app/main.py": "import one, two, three.four, five\n",
        f"{SITE}/one.cpython-313-x86_64-linux-gnu.so": "x",
        f"{SITE}/two/__init__.py": "",
        f"{SITE}/three/four.py": "",
        f"{SITE}/more.pth": "/opt/more\n",
        "opt/more/five.py": "",
    }
    assert rows(make_subject(files, **RUNS)) == []


def test_a_package_that_cannot_be_imported() -> None:
    files = {
        **record("old", "old/__init__.py", "old/inner.py", "old/rare.py"),
        f"{SITE}/old/__init__.py": "from . import inner\n",
        f"{SITE}/old/inner.py": "import pkg_resources\n",
        f"{SITE}/old/rare.py": "import cgi\n",
    }
    assert rows(make_subject(files)) == [
        (
            "RUN004",
            "error",
            f"/{SITE}/old/inner.py",
            "line 1: import pkg_resources, which comes with setuptools before 82, whenever it is imported",
        )
    ]
    assert rows(make_subject(files | {f"{SITE}/pkg_resources/__init__.py": ""})) == []


def test_what_a_package_executes_is_remembered_by_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = DiskStore(tmp_path / "store"), []
    inner = Modules.executed

    def executed(*arguments: Any) -> frozenset[str]:
        asked.append(arguments[1])
        return inner(*arguments)

    monkeypatch.setattr(Modules, "executed", executed)
    package = {
        **record("old", "old/__init__.py", "old/inner.py"),
        f"{SITE}/old/__init__.py": "from . import inner\n",
        f"{SITE}/old/inner.py": "import pkg_resources\n",
    }

    def look(*layers: Files, **config: Any) -> tuple[int, int]:
        """How much is found, and how often it was looked for."""
        asked.clear()
        return len(rows(replace(make_subject(*layers, **config), store=store))), len(asked)

    assert look(package) == (1, 1)
    assert look(package) == (1, 0)
    assert look(package, {**record("other", "other.py"), f"{SITE}/other.py": ""}) == (1, 0)
    # Another layer, though the sources asked about are the same.
    assert look(package | {f"{SITE}/old/__init__.py": "import os\n"}) == (0, 1)
    assert look(package | {f"{SITE}/old/__init__.py": "import os\n"}) == (0, 0)
    # A layer above has one of the sources: both of them tell.
    assert look(package, {f"{SITE}/old/__init__.py": "import os\n"}) == (0, 1)
    assert look(package, {f"{SITE}/old/__init__.py": "import os\n"}) == (0, 0)
    assert look(package, {f"{SITE}/old/__init__.py": "from . import inner\n#\n"}) == (1, 1)
    parts = [{path: package[path]} for path in sorted(package)]
    assert look(*parts) == (1, 1)
    assert look(*parts) == (1, 0)
    assert look(*(each | {path: "import os\n" for path in each if "__init__" in path} for each in parts)) == (0, 1)
    # Another folder has a module of the name, which comes first.
    first = {"first/old/__init__.py": ""}
    assert look(package, first, env=("PYTHONPATH=/first",)) == (0, 1)
    assert look(package, first, env=("PYTHONPATH=/first",)) == (0, 1)
    assert look(package, {"first/new.py": ""}, env=("PYTHONPATH=/first",)) == (1, 0)
    # A package comes before a module of the name, and is in a layer of its own.
    above = {f"{SITE}/old/inner/__init__.py": ""}
    assert look(package, above) == (0, 1)
    assert look(package, above) == (0, 1)
    # The same folder under another name, by which none of its sources is known.
    assert look(package, {"first": Link(f"/{SITE}")}, env=("PYTHONPATH=/first",)) == (0, 1)
    assert look(package) == (1, 0)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (b"sys.modules['old'] = new\n", True),
        (b"sys.modules['old'] == new\n", False),
        (b"sys.modules[" * 300_000, False),
        (b"sys.modules[" * 300_000 + b"name] = new", True),
    ],
    ids=["put", "compared", "never", "late"],
)
def test_a_source_that_puts_modules_in_place(source: bytes, found: bool) -> None:
    """And how long it takes to see that is as long as the source is, not its square."""
    assert extends(source) is found


def test_git() -> None:
    files = record("GitPython", "git/__init__.py")
    assert [row[:2] for row in rows(make_subject(files))] == [("RUN005", "error")]
    assert rows(make_subject(files, env=("PATH=/usr/bin", "GIT_PYTHON_REFRESH=quiet"))) == []
    assert rows(make_subject(files | {"usr/bin/git": "x"})) == []


def test_zones() -> None:
    text = "from zoneinfo import ZoneInfo\nZoneInfo('UTC')\nZoneInfo('US/Eastern')\n"
    assert rows(app(text)) == [
        ("RUN006", "warning", "/app/main.py", 'line 3: ZoneInfo("US/Eastern"): the image\'s zoneinfo does not have it')
    ]
    tzdata = {"app/main.py": text, f"{SITE}/tzdata/zoneinfo/US/Eastern": "TZif2"}
    assert rows(make_subject(tzdata, **RUNS)) == []


def test_locales() -> None:
    text = "import locale\nlocale.setlocale(locale.LC_ALL, 'C')\nlocale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\n"
    assert rows(app(text)) == [
        ("RUN007", "warning", "/app/main.py", 'line 3: setlocale(…, "de_DE.UTF-8"); the image has none but C')
    ]
    there = {"app/main.py": text, "usr/lib/locale/de_DE.utf8/LC_TIME": "x"}
    assert rows(make_subject(there, **RUNS)) == []


def test_no_temporary_directory() -> None:
    assert [row[0] for row in rows(make_subject({".wh.tmp": ""}))] == ["RUN008"]
    assert rows(make_subject({".wh.tmp": "", "srv/tmp/x": ""}, env=("TMPDIR=/srv/tmp",))) == []


def test_the_distribution_that_is_started_is_the_app() -> None:
    files = {
        **record("api", "api/__init__.py", "api/__main__.py"),
        f"{SITE}/api/__init__.py": "",
        f"{SITE}/api/__main__.py": "import os\nos.system('ls')\n",
        **record("lib", "lib.py"),
        f"{SITE}/lib.py": "import os\nos.system('ls')\n",
    }
    started = make_subject(files, entrypoint=("/usr/bin/python3.13", "-m", "api"))
    assert [(row[0], row[2]) for row in rows(started)] == [("RUN001", f"/{SITE}/api/__main__.py")]


def test_a_console_script_is_followed() -> None:
    files = {
        "usr/local/bin/api": File(b"#!/usr/bin/python3.13\nfrom api.cli import main\nmain()\n", 0o755),
        **record("api", "api/__init__.py", "api/cli.py", "../../../bin/api"),
        f"{SITE}/api/__init__.py": "",
        f"{SITE}/api/cli.py": "import telnetlib\n",
    }
    found_ = rows(make_subject(files, entrypoint=("/usr/local/bin/api",)))
    assert ("RUN003", "error", f"/{SITE}/api/cli.py") in [row[:3] for row in found_]


def test_code_as_an_argument() -> None:
    def said(code: str, **config: object) -> list[tuple[str, str, str, str]]:
        files = {"app/api.py": "import requests\n", "app/fine.py": "x = 1\n"}
        words = {"entrypoint": ("/usr/bin/python3.13", "-c", code, "argument"), "working_dir": "/app"}
        return rows(make_subject(files, **words | config))

    assert said("import fine; from fine import x; print(x)") == []
    assert said("try:\n import none\nexcept ImportError:\n pass") == []
    assert said("import requests") == [
        ("RUN003", "error", "Entrypoint", "-c, line 1: import requests, which nothing in the image provides")
    ]
    assert said("from api import main; main()")[0][:3] == ("RUN003", "error", "/app/api.py")
    assert said("from api import main", working_dir="/")[0][1:3] == ("error", "Entrypoint")
    assert said("import sys; sys.path.append('/x'); import other")[0][1] == "warning"
    assert said("print(") == [("RUN010", "error", "Entrypoint", "-c, line 1: '(' was never closed")]
