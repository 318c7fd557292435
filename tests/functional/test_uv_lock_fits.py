"""Whether a lock by the real uv is still the project's: never an alarm for one that is, and a word for one that is not."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from fakes.index import Index, serve_index

from dpbuild.adapters.project import DiskProject
from dpbuild.adapters.uv import find_uv
from dpbuild.stages.config import load

UV = find_uv(os.environ["PATH"])
MINOR = ".".join(platform.python_version_tuple()[:2])
HEAD = '[project]\nname = "My.App"\nversion = "1"\nrequires-python = ">=3.11"\n'


@pytest.fixture
def index() -> Iterator[Index]:
    with serve_index() as served:
        for name in ("direct", "inner", "speedy", "server", "tester", "lint"):
            served.add(make_wheel(name, "1.0", extras={"fast": []}))
            served.add(make_wheel(name, "2.0", extras={"fast": []}))
        yield served


def lock(folder: Path, index: Index) -> None:
    done = subprocess.run(
        [UV, "lock", "--quiet", "--cache-dir", str(folder / ".uv-cache")],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_DEFAULT_INDEX": index.simple,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def outdated(folder: Path) -> str:
    found = load(str(folder), DiskProject(folder, {}).read).requirements
    assert found.kind == "uv-lock"
    return found.outdated


PLAIN = HEAD + 'dependencies = ["direct"]\n'
KINDS = {
    "nothing": HEAD,
    "versions": HEAD + "dependencies = ['Direct >= 1, < 3.0', 'inner~=1.0', 'speedy==1.*', 'server>=0.0,!=1.5.0']\n",
    "extras of requirements": HEAD + "dependencies = ['direct[Fast]', 'inner [fast] >=1 ; python_version<\"4\"']\n",
    "markers": HEAD
    + "dependencies = ['direct>=2 ; python_version>=\"3.12\"', 'direct<2 ; python_version < \"3.12\"', "
    + '\'inner ; python_version < "3.9"\', \'speedy ; platform_machine=="x86_64" or os_name == "nt"\', '
    + '\'server>1; sys_platform=="win32"\', \'server ; sys_platform!="win32" and implementation_name=="cpython"\', '
    + '\'tester ; python_version >= "3.8" and python_full_version > "3.11.2"\']\n',
    "optional": PLAIN
    + '[project.optional-dependencies]\nProd_x = ["server>=1 ; sys_platform==\'linux\'", "my_app[fast]"]\n'
    + 'fast = ["speedy"]\nall = ["My-App[prod-x,fast]", "tester"]\nempty = []\n',
    "groups": PLAIN
    + '[project.optional-dependencies]\nfast = ["speedy"]\n'
    + '[dependency-groups]\ndev = [{include-group = "Lint_x"}, "tester", "my-app[fast]"]\nlint-x = ["lint<2"]\nno = []\n',
    "groups of old": PLAIN + '[tool.uv]\ndev-dependencies = ["tester"]\n[dependency-groups]\ndev = ["lint"]\n',
    "groups of another Python": PLAIN
    + '[dependency-groups]\nlate = ["lint"]\n[tool.uv.dependency-groups]\nlate = {requires-python = ">=3.13"}\n',
    "no dependencies but groups": HEAD + '[dependency-groups]\ndev = ["tester"]\n',
    "path": HEAD + 'dependencies = ["sub>=0.5", "direct"]\n[tool.uv.sources]\nsub = { path = "sub" }\n',
    "path on one platform": HEAD
    + 'dependencies = ["inner>=1"]\n[tool.uv.sources]\ninner = { path = "inner", marker = "sys_platform == \'linux\'" }\n',
    "path in an extra": HEAD
    + 'dependencies = ["direct"]\n[project.optional-dependencies]\nown = ["inner"]\nother = ["inner>=1"]\n'
    + '[tool.uv]\nconflicts = [[{extra = "own"}, {extra = "other"}]]\n'
    + '[tool.uv.sources]\ninner = { path = "inner", extra = "own" }\n',
    "path in a group": PLAIN + '[dependency-groups]\ndev = ["sub"]\n[tool.uv.sources]\nsub = { path = "sub" }\n',
    "index": HEAD
    + 'dependencies = ["direct>=1"]\n[[tool.uv.index]]\nname = "own"\nurl = "INDEX"\nexplicit = true\n'
    + '[tool.uv.sources]\ndirect = { index = "own" }\n',
    "overrides": PLAIN + '[tool.uv]\noverride-dependencies = ["direct==1.0"]\nconstraint-dependencies = ["inner<2"]\n',
    "told by uv's own table": PLAIN
    + '[dependency-groups]\ndev = ["tester"]\n[[tool.uv.dependency-metadata]]\nname = "my-app"\nversion = "1"\n'
    + 'requires-dist = ["inner"]\n',
    "Pythons with an end": HEAD.replace(">=3.11", ">=3.11, <3.14") + "dependencies = ['direct']\n",
    "Pythons but one": HEAD.replace(">=3.11", ">=3.10, !=3.12.*, !=3.13.1") + "dependencies = ['direct']\n",
    "one minor version": HEAD.replace(">=3.11", f"~={MINOR}.1") + "dependencies = ['direct']\n",
    "any Python": HEAD.replace('requires-python = ">=3.11"\n', "") + "dependencies = ['direct']\n",
    "one Python alone": HEAD.replace(">=3.11", f"=={platform.python_version()}")
    + "dependencies = ['direct; python_version<\"3.13\"']\n",
}


def folders(root: Path) -> None:
    for name in ("sub", "inner"):
        (root / name).mkdir()
        (root / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n')


@pytest.mark.parametrize("kind", KINDS)
def test_no_alarm_for_a_lock_that_is_the_projects(index: Index, tmp_path: Path, kind: str) -> None:
    folders(tmp_path)
    text = KINDS[kind].replace("INDEX", index.simple)
    (tmp_path / "pyproject.toml").write_text(text)
    lock(tmp_path, index)
    assert outdated(tmp_path) == ""


BACKEND = """
import os
NAME = "my_app-1.dist-info"
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, NAME))
    with open(os.path.join(folder, NAME, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.3\\nName: my-app\\nVersion: 1\\nRequires-Dist: direct\\nProvides-Extra: more\\n")
        file.write("Requires-Dist: inner; extra == 'more'\\n")
    return NAME
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
def build_wheel(folder, config_settings=None, metadata_directory=None): raise AssertionError
"""


@pytest.mark.parametrize("dynamic", [("version",), ("dependencies", "optional-dependencies")])
def test_no_alarm_for_what_only_a_backend_knows(index: Index, tmp_path: Path, dynamic: tuple[str, ...]) -> None:
    (tmp_path / "own.py").write_text(BACKEND)
    text = HEAD.replace("My.App", "my-app") + f"dynamic = {list(dynamic)}\n"
    if "version" in dynamic:
        text = text.replace('version = "1"\n', "") + 'dependencies = ["direct"]\n'
        text += '[project.optional-dependencies]\nmore = ["inner"]\n'
    text += '[dependency-groups]\ndev = ["tester"]\n'
    text += '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    lock(tmp_path, index)
    assert 'name = "direct"' in (tmp_path / "uv.lock").read_text()
    assert outdated(tmp_path) == ""
    (tmp_path / "pyproject.toml").write_text(text.replace('dev = ["tester"]', 'dev = ["lint"]'))
    assert "uv.lock does not have lint, which pyproject.toml requires in the group dev" in outdated(tmp_path)


def test_members_of_a_workspace(index: Index, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["packages/*"]\n[dependency-groups]\ndev = ["tester", "api"]\n'
        "[tool.uv.sources]\nlib = { workspace = true }\napi = { workspace = true }\n"
    )
    for name, rows in (("api", '"lib>=0.1", "direct"'), ("lib", '"inner<2"')):
        folder = tmp_path / "packages" / name
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{rows}]\n'
        )
    api = tmp_path / "packages/api/pyproject.toml"
    api.write_text(api.read_text().replace(">=3.11", ">=3.10"))
    lock(tmp_path, index)
    every = (tmp_path, tmp_path / "packages/api", tmp_path / "packages/lib")
    assert [outdated(folder) for folder in every] == ["", "", ""]
    lib = tmp_path / "packages/lib/pyproject.toml"
    lib.write_text(lib.read_text().replace("inner<2", "speedy"))
    root = tmp_path / "pyproject.toml"
    root.write_text(root.read_text().replace('"tester"', '"lint"'))
    assert [bool(outdated(folder)) for folder in every] == [True, False, True]
    assert outdated(every[2]) == (
        "uv.lock has inner, which pyproject.toml does not require; "
        "uv.lock does not have speedy, which pyproject.toml requires"
    )
    # The lock is for what all members allow, so it may be for fewer than one of them.
    api.write_text(api.read_text().replace(">=3.10", ">=3.12"))
    assert outdated(every[1]) == "uv.lock is for Python >=3.11, and pyproject.toml is for >=3.12"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('">=3.11"', '">=3.12"', "uv.lock is for Python >=3.11, and pyproject.toml is for >=3.12"),
        ('">=3.11"', '">=3.10"', "uv.lock is for Python >=3.11, and pyproject.toml is for >=3.10"),
        ('">=3.11"', '">=3.11,<3.13"', "uv.lock is for Python >=3.11, and pyproject.toml is for >=3.11,<3.13"),
        ('["direct"]', '["direct", "Speedy_x"]', "uv.lock does not have speedy-x, which pyproject.toml requires"),
        ('["direct"]', "[]", "uv.lock has direct, which pyproject.toml does not require"),
        ('["direct"]', '["direct>=2"]', "uv.lock has direct, and pyproject.toml requires direct>=2"),
        ('["direct"]', '["direct[fast]"]', "uv.lock has direct, and pyproject.toml requires direct[fast]"),
        (
            'fast = ["speedy"]',
            'fast = ["speedy", "inner"]',
            "uv.lock does not have inner, which pyproject.toml requires in the extra fast",
        ),
        ('fast = ["speedy"]', 'fast = ["speedy"]\nmore = ["inner"]', "does not have inner, .* in the extra more"),
        (
            'lint = ["lint<2"]',
            'lint = ["lint<3"]',
            "uv.lock has lint<2, and pyproject.toml requires lint<3 in the group",
        ),
        ('["direct"]', "['direct; python_version < \"3.13\"']", "uv.lock has direct, which .* does not require"),
    ],
)
def test_what_is_said_of_a_lock_that_is_not(index: Index, tmp_path: Path, before: str, after: str, said: str) -> None:
    text = PLAIN + '[project.optional-dependencies]\nfast = ["speedy"]\nall = ["my-app[fast]"]\n'
    text += '[dependency-groups]\ndev = [{include-group = "lint"}]\nlint = ["lint<2"]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    lock(tmp_path, index)
    assert outdated(tmp_path) == ""
    assert before in text
    (tmp_path / "pyproject.toml").write_text(text.replace(before, after))
    found = outdated(tmp_path)
    assert said in found if "*" not in said else re.search(said, found), found


def test_what_each_verb_makes_of_it(bare: Bench, index: Index) -> None:
    make_image(bare.tmp / "base", *debian())
    (bare.project / "dpbuild.toml").write_text(
        f'base = "oci:{bare.tmp}/base"\nbytecode = false\nplatforms = ["linux/amd64"]\n'
    )
    pyproject = bare.project / "pyproject.toml"
    pyproject.write_text(PLAIN)
    lock(bare.project, index)
    bare.build(check=True)
    pyproject.write_text(PLAIN.replace('"direct"', '"direct", "speedy"'))
    said = "error: uv.lock does not have speedy, which pyproject.toml requires\n"
    for code, arguments in (
        (42, ("lock", bare.project, "--check")),
        (41, ("lock", bare.project)),
        (42, ("build", bare.project, "--locked", "-o", bare.output)),
        (41, ("build", bare.project, "-o", bare.output)),
    ):
        done = bare.run(*arguments)
        assert (done.status, done.out) == (code, ""), done.err
        assert said in done.err
        assert " hint: run uv lock, then dpbuild lock" in done.err
    # Who asks for the lock as it is gets it.
    bare.build("--frozen", check=True)
    lock(bare.project, index)
    bare.build(check=True)
