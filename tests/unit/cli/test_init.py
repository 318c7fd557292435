"""``dpbuild init``: what it writes for which project, and that nothing that is there changes."""

import tomllib
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from dpbuild.cli.init import command
from dpbuild.errors import ConfigError, OutputError, UsageError
from dpbuild.model.config import DEFAULT_BASE
from dpbuild.stages import config

DEBIAN_12 = "gcr.io/distroless/python3-debian12:nonroot"
WHEEL = '[build-system]\nrequires = ["setuptools"]\n\n[project]\nname = "acme"\nversion = "1"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def put(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(text.encode())


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [str(project), *arguments])


def written(project: Path, *arguments: str) -> dict[str, object]:
    """What was written, and that it is what a build would read."""
    done = run(project, *arguments)
    assert done.exception is None, done.exception
    path = Path(done.stdout.rstrip("\n"))
    value = tomllib.loads(path.read_text())
    table = value if path.name == "dpbuild.toml" else value["tool"]["dpbuild"]
    read = {
        name: (project / name).read_text() for name in ("pyproject.toml", "dpbuild.toml") if (project / name).exists()
    }
    config.load(str(project), read.get)
    return dict(table)


def test_the_only_script_of_the_project(project: Path) -> None:
    put(project, {"pyproject.toml": WHEEL + '[project.scripts]\nserve = "acme:main"\n', "acme/__main__.py": ""})
    assert written(project) == {"base": DEFAULT_BASE, "script": "serve"}


@pytest.mark.parametrize("folder", ["acme", "src/acme"])
def test_the_only_package_with_main(project: Path, folder: str) -> None:
    put(project, {"pyproject.toml": WHEEL, f"{folder}/__main__.py": "", "tests/__main__.py": ""})
    assert written(project) == {"base": DEFAULT_BASE, "entrypoint": ["-m", "acme"]}


def test_the_only_script_at_the_top_is_left_to_the_build(project: Path) -> None:
    put(project, {"pyproject.toml": '[project]\nname = "acme"\nversion = "1"\n', "serve.py": ""})
    assert written(project) == {"base": DEFAULT_BASE}
    assert "# It starts serve.py" in (project / "pyproject.toml").read_text()


def test_several_are_listed_and_none_is_chosen(project: Path) -> None:
    put(project, {"pyproject.toml": WHEEL + '[project.scripts]\nb = "acme:b"\na = "acme:a"\n'})
    done = run(project)
    text = (project / "pyproject.toml").read_text()
    assert '# script = "a"\n# script = "b"\n' in text
    assert tomllib.loads(text)["tool"]["dpbuild"] == {"base": DEFAULT_BASE}
    assert "several [project.scripts] entries: a, b" in done.stderr


def test_nothing_to_start_is_said(project: Path) -> None:
    put(project, {"pyproject.toml": WHEEL})
    assert "nothing was found that could be started" in run(project).stderr
    assert '# entrypoint = ["-m", "PACKAGE"]' in (project / "pyproject.toml").read_text()


def test_without_a_pyproject(project: Path) -> None:
    put(project, {"main.py": ""})
    assert written(project) == {"base": DEFAULT_BASE}
    assert sorted(path.name for path in project.iterdir()) == ["dpbuild.toml", "main.py"]


@pytest.mark.parametrize(
    ("requires", "base"),
    [
        (">=3.11", DEFAULT_BASE), (">=3.13.2", DEFAULT_BASE), ("==3.13.*", DEFAULT_BASE), ("<3.13", DEBIAN_12),
        ("~=3.11.0", DEBIAN_12), ("nonsense", DEFAULT_BASE),
    ],
)  # fmt: skip
def test_the_base_fits_requires_python(project: Path, requires: str, base: str) -> None:
    put(
        project,
        {"pyproject.toml": f'[project]\nname = "acme"\nversion = "1"\nrequires-python = "{requires}"\n', "main.py": ""},
    )
    done = run(project)
    assert tomllib.loads((project / "pyproject.toml").read_text())["tool"]["dpbuild"]["base"] == base
    assert "say which base" not in done.stderr


@pytest.mark.parametrize(
    ("requires", "known"),
    [
        (">=3.14", "Chainguard's and Wolfi's images have 3.14"),
        ("==3.12.*", "chiselled Ubuntu's and Azure Linux's images have 3.12"),
        ("<3.9", "no family of bases is known to have one"),
    ],
)
def test_a_base_that_cannot_work_is_not_written(project: Path, requires: str, known: str) -> None:
    put(project, {"pyproject.toml": f'{WHEEL}requires-python = "{requires}"\n', "acme/__main__.py": ""})
    assert written(project) == {"entrypoint": ["-m", "acme"]}
    text = (project / "pyproject.toml").read_text()
    assert f"# A base with Python {requires}, which distroless does not have: {known}.\n# base = " in text


def test_without_any_key_there_is_still_a_table(project: Path) -> None:
    put(project, {"pyproject.toml": WHEEL + 'requires-python = ">=3.14"\n'})
    done = run(project)
    assert "requires-python = '>=3.14' allows no distroless base's Python; say which base has one" in done.stderr
    assert tomllib.loads((project / "pyproject.toml").read_text())["tool"]["dpbuild"] == {}


WEB = """# syntax=docker/dockerfile:1
FROM python:3.13 AS build
CMD ["never", "this"]
RUN pip install \\
    # a comment in between
    -r requirements.txt
FROM gcr.io/distroless/python3-debian13
WORKDIR /app
COPY --from=build /venv /venv
COPY . .
ENV PATH=/venv/bin:$PATH PYTHONPATH=/venv/lib PORT=8000 GREETING="hello, you"
ENV API_TOKEN abc
ENV DATA=$HOME/data
EXPOSE 8000 53/udp $PORT
USER 1000:1000
CMD ["serve.py", "--port", "8000"]
"""


def test_what_a_dockerfile_says(project: Path) -> None:
    put(project, {"Dockerfile": WEB, "serve.py": "", "other.py": ""})
    assert written(project) == {
        "base": DEFAULT_BASE,
        "entrypoint": ["serve.py", "--port", "8000"],
        "env": {"PORT": "8000", "GREETING": "hello, you"},
        "expose": [8000, "53/udp"],
        "user": "1000:1000",
    }
    text = (project / "dpbuild.toml").read_text()
    assert "# API_TOKEN is left out of env: give secrets when the image runs\n" in text
    assert '# env.DATA = "$HOME/data"  # variables are not expanded\n' in text
    assert '# expose = ["$PORT"]  # ports are numbers\n' in text
    assert "abc" not in text


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ('ENTRYPOINT ["python", "-m", "acme"]\nCMD ["--help"]', {"entrypoint": ["-m", "acme"], "cmd": ["--help"]}),
        ('ENTRYPOINT ["python"]\nCMD ["/app/a.py"]', {"entrypoint": ["a.py"]}),
        ('CMD ["/usr/local/bin/python3.13", "-u", "./a.py"]', {"entrypoint": ["-u", "a.py"]}),
        ('CMD ["python", "-W", "error", "-m", "acme"]', {"entrypoint": ["-W", "error", "-m", "acme"]}),
        ('CMD ["gunicorn", "acme:app"]', {"script": "gunicorn", "cmd": ["acme:app"]}),
        ('ENTRYPOINT ["/venv/bin/gunicorn"]\nCMD ["acme:app"]', {"script": "gunicorn", "cmd": ["acme:app"]}),
        ('ENTRYPOINT ["tini", "--"]\nCMD ["uv", "run", "serve"]', {"script": "serve"}),
        ('CMD ["python", "b.py"]\nENTRYPOINT ["python", "a.py"]', {"entrypoint": ["a.py"]}),
        ('CMD gunicorn\nCMD ["python", "a.py"]', {"entrypoint": ["a.py"]}),
        ("USER nonroot", {}),
    ],
)
def test_what_a_dockerfile_starts(project: Path, lines: str, keys: dict[str, object]) -> None:
    put(project, {"Dockerfile": f"FROM python:3.13\nWORKDIR /app\n{lines}\n", "a.py": "", "b.py": ""})
    assert written(project) == {"base": DEFAULT_BASE, **keys}


@pytest.mark.parametrize(
    ("lines", "comments"),
    [
        (
            "CMD gunicorn acme:app",
            ['script = "gunicorn"  # there is no shell', 'cmd = ["acme:app"]  # there is no shell'],
        ),
        ("CMD gunicorn -b :$PORT", ['The Dockerfile starts "gunicorn -b :$PORT"; say what that comes to']),
        ('CMD ["/entry.sh", "x"]', ["The Dockerfile starts "]),
        ('CMD ["python"]', ["The Dockerfile starts "]),
        ('CMD ["python", "gone.py"]', ['entrypoint = ["gone.py"]  # a file that is not seen here']),
        ("USER app", ['user = "app"  # a user that the base has, or a number']),
        ("USER root", ['user = "root"  # the base\'s is nonroot']),
        ("WORKDIR /srv", ['workdir = "/srv"  # the app\'s files are in /app']),
    ],
)
def test_what_a_dockerfile_says_that_is_not_sure(project: Path, lines: str, comments: list[str]) -> None:
    put(project, {"Dockerfile": f"FROM python:3.13\nWORKDIR /app\n{lines}\n", "a.py": ""})
    assert written(project) == {"base": DEFAULT_BASE}
    text = (project / "dpbuild.toml").read_text()
    assert "# Of the Dockerfile, to be looked at:\n" in text
    for comment in comments:
        assert f"# {comment}" in text


def test_a_dockerfile_of_nothing_known(project: Path) -> None:
    put(project, {"Containerfile": "\x00 not one\nFROM\nENV\nEXPOSE\nCMD\n", "a.py": ""})
    assert written(project) == {"base": DEFAULT_BASE}


def test_flags_are_written(project: Path) -> None:
    put(project, {"main.py": ""})
    arguments = (
        "--base",
        "compose:debian12",
        "-t",
        "example.org/a:1",
        "-t",
        "example.org/b",
        "--platform",
        "linux/amd64,linux/arm64",
    )
    assert written(project, *arguments) == {
        "base": "compose:debian12",
        "tags": ["example.org/a:1", "example.org/b"],
        "platforms": ["linux/amd64", "linux/arm64"],
    }


def test_wrong_flags_write_nothing(project: Path) -> None:
    put(project, {"main.py": ""})
    for arguments in (("--base", "UPPER/Case:?"), ("--platform", "linux"), ("-t", "example.org/App")):
        assert isinstance(run(project, *arguments).exception, UsageError)
    assert [path.name for path in project.iterdir()] == ["main.py"]


SHAPES = {
    "nothing": "",
    "no end of line": '[project]\nname = "acme"',
    "comments": '# top\n[project] # here\nname = "acme" # there\n\n\n# last\n',
    "tables in between": '[tool.ruff]\nx = 1\n\n[project]\nname = "acme"\n\n[tool.mypy]\ny = 1\n',
    "dotted": 'tool.ruff.x = 1\n[project]\nname = "acme"\n',
    "explicit": '[tool]\nx = 1\n[tool.ruff]\ny = 2\n[project]\nname = "acme"\n',
    "arrays of tables": '[[tool.uv.index]]\nname = "a"\n[[tool.uv.index]]\nname = "b"\n',
    "other ends of lines": '[project]\r\nname = "acme"\r\n\r\n[tool.ruff]\r\nx = 1\r\n',
    "strings": '[tool.a]\nx = """\n[tool.dpbuild]\n"""\ny = [\n  1, # one\n]\n',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_byte_that_is_there_stays(project: Path, shape: str) -> None:
    put(project, {"pyproject.toml": SHAPES[shape], "main.py": ""})
    (project / "pyproject.toml").chmod(0o640)
    assert written(project) == {"base": DEFAULT_BASE}
    data = (project / "pyproject.toml").read_bytes()
    assert data.startswith(SHAPES[shape].encode())
    ends = b"\r\n" if "\r\n" in SHAPES[shape] else b"\n"
    assert data.count(b"\n") == data.count(ends)
    assert data.endswith(ends)
    assert (project / "pyproject.toml").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pyproject.toml": "[tool.dpbuild]\n"}, "configured already"),
        ({"pyproject.toml": '[tool]\ndpbuild.base = "compose:debian13"\n'}, "configured already"),
        ({"dpbuild.toml": ""}, "configured already"),
        ({"pyproject.toml": "tool = {ruff = {x = 1}}\n"}, "inline table"),
        ({"pyproject.toml": "[project\n"}, "not valid TOML"),
        ({"pyproject.toml": 'project = "acme"\n'}, "must be a table"),
    ],
)
def test_what_is_refused_stays_as_it_is(project: Path, files: dict[str, str], words: str) -> None:
    put(project, {**files, "main.py": ""})
    problem = run(project).exception
    assert isinstance(problem, ConfigError)
    assert words in problem.what
    assert {path.name: path.read_text() for path in project.iterdir()} == {**files, "main.py": ""}


def test_twice_is_once(project: Path) -> None:
    put(project, {"main.py": ""})
    run(project)
    before = (project / "dpbuild.toml").read_bytes()
    assert isinstance(run(project).exception, ConfigError)
    assert (project / "dpbuild.toml").read_bytes() == before


def test_a_write_that_fails_changes_nothing(project: Path) -> None:
    put(project, {"pyproject.toml": WHEEL})
    with mock.patch("os.fdopen", side_effect=OSError(28, "No space left on device")):
        assert isinstance(run(project).exception, OutputError)
    with mock.patch.object(Path, "replace", side_effect=OSError(30, "Read-only file system")):
        assert isinstance(run(project).exception, OutputError)
    assert {path.name: path.read_text() for path in project.iterdir()} == {"pyproject.toml": WHEEL}


def test_a_link_stays_a_link(project: Path) -> None:
    put(project, {"conf/shared.toml": WHEEL})
    (project / "pyproject.toml").symlink_to("conf/shared.toml")
    run(project)
    assert (project / "pyproject.toml").readlink() == Path("conf/shared.toml")
    assert tomllib.loads((project / "conf/shared.toml").read_text())["tool"]["dpbuild"]["base"] == DEFAULT_BASE
