"""RUN011: what the app imports of its own modules."""

import pytest
from factories.image import File, Files
from factories.subject import PYTHON, SITE, found, make_subject

from dpbuild.model.finding import Severity


def rows(main: str, *arguments: str, **beside: str) -> list[tuple[str, Severity, str]]:
    """``beside`` are the other modules in /app."""
    files: Files = {f"app/{name}.py": File(text.encode()) for name, text in beside.items()}
    files["app/main.py"] = File(main.encode())
    subject = make_subject(files, entrypoint=(PYTHON, *(arguments or ("/app/main.py",))), working_dir="/app")
    return [(row.path, row.severity, row.evidence) for row in found(subject, "RUN011")]


@pytest.mark.parametrize(
    ("main", "evidence"),
    [
        ("import api.sub\n", "line 1: import api.sub: /app/api.py is a module, and no package"),
        ("from api.sub import x\n", "line 1: import api.sub: /app/api.py is a module, and no package"),
        ("import os\nfrom api import y\n", "line 2: from api import y: /app/api.py has no y"),
        ("from api import x, y\n", "line 1: from api import y: /app/api.py has no y"),
        ("from api import x\nimport api.x\n", "line 2: import api.x: /app/api.py is a module, and no package"),
        ("from .api import x\n", "line 1: from .api import …: what is run as a script, or lies in no package has"),
        ("from . import api\n", "line 1: from . import …: what is run as a script, or lies in no package has"),
    ],
)
def test_what_fails_for_sure(main: str, evidence: str) -> None:
    ((path, severity, text),) = rows(main, api="x = 1\n")
    assert (path, severity) == ("/app/main.py", Severity.ERROR)
    assert text.startswith(evidence)


@pytest.mark.parametrize(("name", "fails"), [("main", False), ("nope", True)])
def test_the_script_of_an_entry_point(name: str, fails: bool) -> None:
    """As installers make it, in a folder of programs and without an ending."""
    script = (
        f"#!{PYTHON}\nimport sys\nfrom own.main import {name}\nif __name__ == '__main__':\n    sys.exit({name}())\n"
    )
    record = "own/__init__.py,,\nown/main.py,,\nown-1.dist-info/METADATA,,\n../../../bin/own,,\n"
    site = SITE.lstrip("/")
    files: Files = {
        f"{site}/own/__init__.py": File(b""),
        f"{site}/own/main.py": File(b"def main():\n    pass\n"),
        f"{site}/own-1.dist-info/METADATA": File(b"Metadata-Version: 2.1\nName: own\nVersion: 1\n"),
        f"{site}/own-1.dist-info/RECORD": File(record.encode()),
        "usr/local/bin/own": File(script.encode(), mode=0o755),
    }
    subject = make_subject(files, entrypoint=(PYTHON, "/usr/local/bin/own"))
    told = [(row.path, row.severity, row.evidence) for row in found(subject, "RUN011")]
    where = f"line 3: from own.main import nope: /{site}/own/main.py has no nope"
    assert told == ([("/usr/local/bin/own", Severity.ERROR, where)] if fails else [])


def test_a_package() -> None:
    files: Files = {
        "app/pkg/__init__.py": File(b"x = 1\n"),
        "app/pkg/sub.py": File(b"from . import x, sub, z\nfrom .. import a\n"),
        "app/pkg/deep/__init__.py": File(b"from ..sub import q\n"),
        "app/main.py": File(b"import pkg.sub\nfrom pkg import x, sub, deep\nfrom pkg.sub import x\nimport pkg.no\n"),
    }
    subject = make_subject(files, entrypoint=(PYTHON, "/app/main.py"))
    assert [(row.path, row.evidence) for row in found(subject, "RUN011")] == [
        ("/app/main.py", "line 4: import pkg.no: /app/pkg/__init__.py has no no"),
        ("/app/pkg/deep/__init__.py", "line 1: from pkg.sub import q: /app/pkg/sub.py has no q"),
        ("/app/pkg/sub.py", "line 1: from pkg import z: /app/pkg/__init__.py has no z"),
        ("/app/pkg/sub.py", "line 2: from .. import …: the package pkg has nothing above it"),
    ]


@pytest.mark.parametrize(
    "api",
    [
        "y = 1\n",
        "y: int = 1\n",
        "if x:\n    y = 1\n",
        "def y():\n    pass\n",
        "class y:\n    pass\n",
        "async def y():\n    pass\n",
        "import a as y\n",
        "from a import y\n",
        "import y.z\n",
        "for y in z:\n    pass\n",
        "with z as (x, *y):\n    pass\n",
        "try:\n    y = 1\nexcept E:\n    pass\n",
        "(y := 1)\n",
        "match z:\n    case {'a': 1, **y}:\n        pass\n",
        "match z:\n    case [1, *y]:\n        pass\n",
        "match z:\n    case 1 as y:\n        pass\n",
        "def f():\n    global y\n    y = 1\n",
        "from os import *\n",
        "globals()['y'] = 1\n",
        "def __getattr__(name):\n    pass\n",
        "import sys\nsys.modules[__name__] = z\n",
        "exec(code)\n",
        "not python (\n",
    ],
)
def test_names_that_a_module_has_or_may_have(api: str) -> None:
    assert rows("from api import y\n", api=api) == []


@pytest.mark.parametrize(
    ("main", "beside"),
    [
        ("from api import __version__\n", {"api": ""}),
        ("import api\napi.y = 1\nfrom api import y\n", {"api": ""}),
        ("import api\nsetattr(api, 'y', 1)\nfrom api import y\n", {"api": ""}),
        ("try:\n    from api import y\nexcept ImportError:\n    pass\n", {"api": ""}),
        ("def f():\n    from api import y\n", {"api": ""}),
        ("if x:\n    from api import y\n", {"api": ""}),
        # Python has loaded its own by then, or may have.
        ("from random import nothing\n", {"random": ""}),
        ("__package__ = 'app'\nfrom .api import x\n", {"api": ""}),
        ("from api import *\n", {"api": ""}),
    ],
)
def test_what_may_go_well(main: str, beside: dict[str, str]) -> None:
    assert rows(main, **beside) == []


def test_packages_that_are_installed_are_not_judged() -> None:
    files: Files = {
        f"{SITE}/pkg-1.0.dist-info/METADATA": File(b"Name: pkg\nVersion: 1.0\n"),
        f"{SITE}/pkg-1.0.dist-info/RECORD": File(b"pkg.py,,\npkg-1.0.dist-info/RECORD,,\n"),
        f"{SITE}/pkg.py": File(b""),
        "app/main.py": File(b"from pkg import y\n"),
    }
    assert found(make_subject(files, entrypoint=(PYTHON, "/app/main.py")), "RUN011") == ()


def test_modules_that_run_with_m_have_a_package() -> None:
    files: Files = {
        "app/pkg/__init__.py": File(b""),
        "app/pkg/__main__.py": File(b"from .sub import x\nfrom . import sub\n"),
        "app/pkg/sub.py": File(b"x = 1\n"),
    }
    started = make_subject(files, entrypoint=(PYTHON, "-m", "pkg"), working_dir="/app")
    assert found(started, "RUN011") == ()
    (row,) = found(make_subject(files, entrypoint=(PYTHON, "/app/pkg/__main__.py")), "RUN011")[:1]
    assert row.evidence.startswith("line 1: from .sub import …")


def test_an_app_that_extends_its_path_is_warned() -> None:
    ((_, severity, _),) = rows("import sys\nsys.path.insert(0, '/x')\nfrom api import y\n", api="")
    assert severity is Severity.WARNING
