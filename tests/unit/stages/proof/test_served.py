"""What servers are told to load, found in the words of the image's config."""

import pytest
from factories.subject import SITE, found, make_subject

from dpbuild.stages.proof.served import Served, served

BIN = "usr/local/bin"
FILES = {f"{BIN}/{name}": "#!/usr/bin/python3.13\n" for name in ("gunicorn", "uvicorn", "flask", "celery", "tool")}
WEB = {"app/web.py": "import os\n", "app/pkg/__init__.py": "", "app/pkg/main.py": "import os\n"}


def told(*argv: str, **config: object) -> Served | None:
    subject = make_subject(FILES, entrypoint=argv, working_dir="/app", **config)
    return served(subject.start, subject.config)


@pytest.mark.parametrize(
    ("argv", "module", "folder"),
    [
        ("gunicorn web:app", "web", "/app"),
        ("gunicorn -w 4 -b 0.0.0.0:8000 -k uvicorn.workers:UvicornWorker pkg.main:app", "pkg.main", "/app"),
        ("gunicorn --chdir /srv web:create_app('x')", "web", "/srv"),
        ("uvicorn --host localhost --port 80 pkg.main:app", "pkg.main", "/app"),
        ("uvicorn --app-dir=src web:app", "web", "/app/src"),
        ("/usr/bin/python3.13 -m uvicorn web:app", "web", "/app"),
        ("/usr/bin/python3.13 -Im hypercorn web:app", "web", "/app"),
        ("flask --app web run", "web", "/app"),
        ("flask --app=pkg.main:make() run", "pkg.main", "/app"),
        ("celery -A pkg.main worker", "pkg.main", "/app"),
    ],
)
def test_what_is_loaded(argv: str, module: str, folder: str) -> None:
    row = told(*argv.split())
    assert row is not None
    assert (row.module, row.folder, row.surely) == (module, folder, True)


@pytest.mark.parametrize(
    "argv",
    [
        "gunicorn",
        "gunicorn web",  # a module alone may as well be the value of an option before it
        "gunicorn -b 0.0.0.0:8000",
        "uvicorn localhost:8000",
        "flask run",
        "flask --app web.py run",
        "celery worker",
        "tool web:app",
        "/usr/bin/python3.13 -c web:app",
        "/usr/bin/python3.13 -m json.tool web:app",
    ],
)
def test_what_cannot_be_told(argv: str) -> None:
    assert told(*argv.split()) is None


def test_by_a_variable() -> None:
    row = told("flask", "run", env=("FLASK_APP=web",))
    assert row is not None
    assert row.module == "web"


def rows(argv: str, files: dict[str, str], **config: object) -> list[tuple[str, str, str]]:
    subject = make_subject(FILES | files, entrypoint=tuple(argv.split()), **{"working_dir": "/app", **config})
    return [(str(row.severity), row.path, row.evidence) for row in found(subject, "RUN003")]


def test_it_is_there() -> None:
    for argv in ("gunicorn web:app", "uvicorn pkg.main:app", "uvicorn --app-dir /app/pkg main:app"):
        assert rows(argv, WEB) == []
    installed = {f"{SITE}/web/__init__.py": "", f"{SITE}/web/wsgi.py": "import os\n"}
    assert rows("gunicorn web.wsgi:app", installed) == []
    assert rows("gunicorn web:app", {"opt/web.py": ""}, env=("PYTHONPATH=/opt",)) == []


def test_it_is_not_there() -> None:
    assert rows("gunicorn wbe:app", WEB) == [
        ("error", "Entrypoint", "gunicorn is to load wbe:app, and nothing in the image provides the module wbe")
    ]
    assert rows("uvicorn pkg.mian:app", WEB) == [
        (
            "error",
            "Entrypoint",
            "uvicorn is to load pkg.mian:app, and nothing in the image provides the module pkg.mian",
        )
    ]
    assert [row[:2] for row in rows("gunicorn", WEB, cmd=("wbe:app",))] == [("error", "Cmd")]
    # Here another folder may have it.
    for argv in ("gunicorn -c conf.py wbe:app", "gunicorn --pythonpath /x wbe:app"):
        assert [row[0] for row in rows(argv, WEB)] == ["warning"]
    assert [row[0] for row in rows("gunicorn wbe:app", WEB, volumes=("/app",))] == ["warning"]


def test_what_it_imports() -> None:
    files = {"app/web.py": "import pkg.main\n", "app/pkg/__init__.py": "", "app/pkg/main.py": "import msgspec\n"}
    why = "line 1: import msgspec, which nothing in the image provides; /app/web.py imports it"
    assert rows("gunicorn web:app", files) == [("error", "/app/pkg/main.py", why)]
    assert rows("gunicorn web:app", files | {f"{SITE}/msgspec/__init__.py": ""}) == []


def test_a_package_that_may_make_modules_up() -> None:
    info = f"{SITE}/lazy-1.0.dist-info"
    files = {
        f"{SITE}/lazy/__init__.py": "",
        f"{info}/METADATA": "Name: lazy\nVersion: 1.0\n",
        f"{info}/RECORD": "lazy/__init__.py,,\n",
    }
    assert rows("gunicorn lazy.made:app", files) == []


def test_what_is_not_said_may_be_anything() -> None:
    """The app's sources are looked at all the same, and not the server's."""
    info = f"{SITE}/gunicorn-1.0.dist-info"
    files = {
        "app/web.py": "import distutils\n",
        f"{SITE}/gunicorn/__init__.py": "import os\n",
        f"{info}/METADATA": "Name: gunicorn\nVersion: 1.0\n",
        f"{info}/RECORD": "gunicorn/__init__.py,,\n../../../bin/gunicorn,,\n",
    }
    assert rows("gunicorn web", files) == [
        ("warning", "/app/web.py", "line 1: import distutils, which Python 3.13 does not have any more")
    ]
