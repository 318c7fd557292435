"""Requirements in every form that people have them, from a project to an image; what cannot be had is named."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench import Bench
from e2e_tools import image_row
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel

from dpbuild.adapters.uv import find_uv

UV = find_uv(os.environ["PATH"])
WHEELS = {
    (name, version): make_wheel(name, version, **more)  # type: ignore[arg-type]
    for name, version, more in (
        ("direct", "1.0", {"requires": ["inner"], "extras": {"fast": ["speedy"]}}),
        ("direct", "2.0", {"requires": ["inner"], "extras": {"fast": ["speedy"]}}),
        ("inner", "1.0", {}),
        ("inner", "1.5", {}),
        ("speedy", "1.0", {}),
        ("server", "1.0", {}),
        ("tester", "1.0", {}),
    )
}
# What is nowhere but in a folder or at an address.
ELSEWHERE = make_wheel("elsewhere", "1.0", requires=["inner"])


@pytest.fixture
def forms(bare: Bench) -> Bench:
    """A project on a base that needs no network, and an index with the wheels above."""
    for wheel in WHEELS.values():
        bare.index.add(wheel)
    make_image(bare.tmp / "base", *debian())
    (bare.project / "pyproject.toml").unlink()
    configure(bare)
    return bare


def configure(bench: Bench, *lines: str, folder: Path | None = None) -> None:
    base = f'base = "oci:{bench.tmp}/base"\nbytecode = false\nplatforms = ["linux/amd64"]\n'
    ((folder or bench.project) / "dpbuild.toml").write_text(base + "\n".join(lines) + "\n")


def project(bench: Bench, *lines: str, dependencies: tuple[str, ...] = ("direct",)) -> None:
    rows = ", ".join(repr(row) for row in dependencies)
    text = f'[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{rows}]\n'
    (bench.project / "pyproject.toml").write_text(text + "\n".join(lines) + "\n")


def uv(bench: Bench, *words: str, folder: Path | None = None) -> str:
    """The real uv, as the project's people would run it."""
    done = subprocess.run(
        [UV, *words, "--cache-dir", str(bench.tmp / "uv-cache")],
        cwd=folder or bench.project,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(bench.tmp),
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
            **bench.environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(layout: Path) -> set[str]:
    """name==version of every distribution in an image."""

    def blob(digest: str) -> bytes:
        return (layout / "blobs/sha256" / digest[7:]).read_bytes()

    found = set()
    manifest = json.loads(blob(image_row((layout / "index.json").read_text())["digest"]))
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"]))) as tar:
            for name in tar.getnames():
                if name.endswith(".dist-info/METADATA"):
                    assert name.startswith("usr/local/lib/python3.13/dist-packages/")
                    stem = name.split("/")[-2].removesuffix(".dist-info")
                    found.add(stem.replace("-", "=="))
    return found


# what works


@dataclass(frozen=True)
class Form:
    """``prepare`` writes the files; the image then has these distributions."""

    prepare: Callable[[Bench], None]
    expected: frozenset[str]


FORMS: list[Form] = []


def gives(*expected: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def keep(prepare: Callable[[Bench], None]) -> Callable[[Bench], None]:
        FORMS.append(Form(prepare, frozenset(expected)))
        return prepare

    return keep


NEWEST = ("direct==2.0", "inner==1.5")


@gives(*NEWEST)
def project_dependencies(bench: Bench) -> None:
    project(bench)


@gives("direct==2.0", "inner==1.0")
def requirements_in(bench: Bench) -> None:
    (bench.project / "requirements.in").write_text("direct>1  # newest\ninner<1.5\n")


@gives(*NEWEST, "server==1.0")
def requirements_txt_of_several_files(bench: Bench) -> None:
    (bench.project / "more").mkdir()
    (bench.project / "requirements.txt").write_text("-r more/base.txt\nserver ; python_version >= '3.13'\n")
    (bench.project / "more/base.txt").write_text("direct\ntester ; sys_platform == 'win32'\n")


@gives("direct==1.0", "inner==1.0")
def constraints(bench: Bench) -> None:
    (bench.project / "requirements.txt").write_text("direct\n-c limits.txt\n")
    (bench.project / "limits.txt").write_text("direct<2\ninner==1.0\ntester==9\n")


@gives("direct==2.0", "inner==1.0")
def constraints_of_uv(bench: Bench) -> None:
    project(bench, '[tool.uv]\nconstraint-dependencies = ["inner<1.5"]')


@gives("direct==2.0", "inner==1.0")
def overrides_of_uv(bench: Bench) -> None:
    project(bench, '[tool.uv]\noverride-dependencies = ["inner==1.0"]')


@gives("direct==1.0", "inner==1.0")
def hashed_requirements(bench: Bench) -> None:
    (bench.project / "requirements.in").write_text("direct<2\ninner<1.5\n")
    words = ("--generate-hashes", "-q", "--no-header", "--python-version", "3.13", "-o", "requirements.txt")
    uv(bench, "pip", "compile", "requirements.in", *words)
    assert "--hash=sha256:" in (bench.project / "requirements.txt").read_text()
    bench.index.add(make_wheel("inner", "1.4"))


@gives(*NEWEST, "speedy==1.0")
def an_extra_of_a_requirement(bench: Bench) -> None:
    project(bench, dependencies=("direct[fast]",))


OPTIONAL = (
    '[project.optional-dependencies]\nprod = ["server"]\nall = ["app[prod]", "speedy"]\n'
    '[dependency-groups]\ntest = ["tester"]\nserve = [{include-group = "test"}, "server"]\n'
)


@gives(*NEWEST, "server==1.0", "speedy==1.0")
def extras_of_the_project(bench: Bench) -> None:
    project(bench, OPTIONAL)
    configure(bench, 'extras = ["all"]')


@gives(*NEWEST, "server==1.0", "tester==1.0")
def dependency_groups(bench: Bench) -> None:
    project(bench, OPTIONAL)
    configure(bench, 'groups = ["serve"]')


@gives(*NEWEST)
def extras_that_nobody_asked_for(bench: Bench) -> None:
    project(bench, OPTIONAL)


@gives("elsewhere==1.0", "inner==1.5")
def a_direct_url(bench: Bench) -> None:
    bench.index.add(ELSEWHERE)
    project(bench, dependencies=(f"elsewhere @ {bench.index.file_url(ELSEWHERE[0])}",))


@gives("elsewhere==1.0", "inner==1.5")
def a_direct_url_with_its_hash(bench: Bench) -> None:
    digest = bench.index.add(ELSEWHERE)
    project(bench, dependencies=(f"elsewhere @ {bench.index.file_url(ELSEWHERE[0])}#sha256={digest}",))


@gives("elsewhere==1.0", "inner==1.5")
def local_wheels(bench: Bench) -> None:
    (bench.project / "wheels").mkdir()
    (bench.project / "wheels" / ELSEWHERE[0]).write_bytes(ELSEWHERE[1])
    configure(bench, 'find-links = ["wheels"]')
    project(bench, dependencies=("elsewhere",))


@gives("elsewhere==1.0", "inner==1.5")
def find_links_at_an_address(bench: Bench) -> None:
    bench.index.add(ELSEWHERE)
    configure(bench, f'find-links = ["{bench.index.url}/simple/elsewhere/"]')
    project(bench, dependencies=("elsewhere",))


@gives("elsewhere==1.0", "inner==1.5")
def find_links_in_a_requirements_file(bench: Bench) -> None:
    """Relative to that file, as pip takes them."""
    (bench.project / "more/wheels").mkdir(parents=True)
    (bench.project / "more/wheels" / ELSEWHERE[0]).write_bytes(ELSEWHERE[1])
    (bench.project / "requirements.txt").write_text("-r more/own.txt\n")
    (bench.project / "more/own.txt").write_text("--find-links ./wheels\nelsewhere\n")


@gives("direct==1.0", "inner==1.0")
def uv_lock(bench: Bench) -> None:
    project(bench, OPTIONAL, dependencies=("direct<2", "inner<1.5"))
    uv(bench, "lock", "-q")
    # A newer one that would fit: what is locked is not resolved again.
    bench.index.add(make_wheel("inner", "1.4"))


@gives(*NEWEST, "server==1.0", "speedy==1.0", "tester==1.0")
def uv_lock_with_extras_and_groups(bench: Bench) -> None:
    project(bench, OPTIONAL)
    configure(bench, 'extras = ["all"]\ngroups = ["test"]')
    uv(bench, "lock", "-q")


@gives("direct==2.0", "inner==1.5")
def uv_lock_of_a_workspaces_root(bench: Bench) -> None:
    project(bench, '[tool.uv.workspace]\nmembers = ["packages/*"]')
    member(bench.project / "packages/tools", "tools", "tester")
    uv(bench, "lock", "-q")


@gives("elsewhere==1.0", "inner==1.5")
def uv_lock_with_a_local_wheel(bench: Bench) -> None:
    (bench.project / "wheels").mkdir()
    (bench.project / "wheels" / ELSEWHERE[0]).write_bytes(ELSEWHERE[1])
    source = f'[tool.uv.sources]\nelsewhere = {{ path = "wheels/{ELSEWHERE[0]}" }}'
    project(bench, source, dependencies=("elsewhere",))
    uv(bench, "lock", "-q")


@gives(*NEWEST)
def pylock(bench: Bench) -> None:
    (bench.project / "requirements.in").write_text("direct\n")
    words = ("--format", "pylock.toml", "-q", "--python-version", "3.13", "-o", "pylock.toml")
    uv(bench, "pip", "compile", "requirements.in", *words)
    bench.index.add(make_wheel("direct", "3.0"))


@gives(*NEWEST, "server==1.0", "tester==1.0")
def pylock_of_a_uv_lock(bench: Bench) -> None:
    project(bench, OPTIONAL)
    uv(bench, "lock", "-q")
    text = uv(bench, "export", "--format", "pylock.toml", "--no-emit-project", "--group", "serve", "-q")
    (bench.project / "pylock.toml").write_text(text)
    (bench.project / "uv.lock").unlink()


def member(folder: Path, name: str, *dependencies: str, more: str = "") -> None:
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(f"print('{name}')\n")
    rows = ", ".join(repr(row) for row in dependencies)
    head = f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{rows}]\n'
    (folder / "pyproject.toml").write_text(head + more)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.prepare.__name__)
def test_forms_that_work(forms: Bench, form: Form) -> None:
    form.prepare(forms)
    done = forms.build("-v")
    assert done.status == 0, done.err
    assert installed(forms.output) == form.expected
    # The lock is good by itself, and stays as it is.
    lock = forms.project / "pylock.dpbuild.toml"
    text = lock.read_text()
    again = forms.build("--locked")
    assert (again.status, again.out, lock.read_text()) == (0, done.out, text), again.err


# one member of a workspace


@pytest.fixture
def workspace(forms: Bench) -> Bench:
    """Two members and a root that is no project; the index goes on to have newer versions."""
    root = forms.project
    (root / "main.py").unlink()
    (root / "dpbuild.toml").unlink()
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n')
    member(root / "packages/api", "api", "direct<2", "server", more='[dependency-groups]\ntest = ["tester"]\n')
    member(root / "packages/lib", "lib", "speedy")
    return forms


def test_one_member_of_a_workspace(workspace: Bench) -> None:
    api = workspace.project / "packages/api"
    uv(workspace, "lock", "-q")
    workspace.index.add(make_wheel("server", "2.0"))
    configure(workspace, 'groups = ["test"]', folder=api)
    done = workspace.run("build", api, "-o", workspace.output)
    assert done.status == 0, done.err
    assert installed(workspace.output) == {"direct==1.0", "inner==1.5", "server==1.0", "tester==1.0"}
    # Its lock is stale when the workspace's is another one.
    uv(workspace, "lock", "-q", "--upgrade")
    stale = workspace.run("lock", api, "--check")
    assert stale.status == 42, stale.err
    renewed = workspace.run("build", api, "-o", workspace.output)
    assert re.search(r"server:? 1\.0 -> 2\.0", renewed.err), renewed.err
    assert "server==2.0" in installed(workspace.output)


def test_a_member_that_needs_another_is_named(workspace: Bench) -> None:
    api = workspace.project / "packages/api"
    path = api / "pyproject.toml"
    text = path.read_text().replace('"server"', '"lib"').replace("'server'", "'lib'")
    path.write_text(text + "[tool.uv.sources]\nlib = { workspace = true }\n")
    uv(workspace, "lock", "-q")
    configure(workspace, folder=api)
    done = workspace.run("build", api, "-o", workspace.output)
    assert (done.status, done.out) == (41, "")
    assert "error: lib cannot be locked: it comes from a folder: ../lib\n" in done.err


@pytest.mark.parametrize("name", ["old", "apart"])
def test_a_folder_that_is_no_member_has_no_lock_of_it(workspace: Bench, name: str) -> None:
    folder = workspace.project / ("packages/old" if name == "old" else "apart")
    uv(workspace, "lock", "-q")
    member(folder, name, "direct")
    configure(workspace, folder=folder)
    done = workspace.run("build", folder, "-o", workspace.output)
    assert done.status == 0, done.err
    assert installed(workspace.output) == {"direct==2.0", "inner==1.5"}


# what does not work, and is named


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a project in it."""
    folder = tmp_path / "repository"
    member(folder, "fromgit")
    git = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.example",
        "-c",
        "init.defaultBranch=main",
    ]
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "one")):
        if subprocess.run([*git, *words], check=False, capture_output=True).returncode:
            pytest.skip("git does not work here")
    return folder


@pytest.mark.parametrize("form", ["project", "requirements", "uv source", "uv.lock"])
def test_git_requirements_are_named(forms: Bench, repository: Path, form: str) -> None:
    url = f"git+file://{repository}"
    source = f'[tool.uv.sources]\nfromgit = {{ git = "file://{repository}" }}'
    match form:
        case "project":
            project(forms, dependencies=("direct", f"fromgit @ {url}"))
        case "requirements":
            (forms.project / "requirements.txt").write_text(f"direct\nfromgit @ {url}\n")
        case _:
            project(forms, source, dependencies=("direct", "fromgit"))
            if form == "uv.lock":
                uv(forms, "lock", "-q")
    done = forms.build()
    assert (done.status, done.out) == (41, ""), done.err
    assert "fromgit" in done.err


@pytest.mark.parametrize("form", ["path", "editable", "bare git", "uv path", "uv.lock path", "file url", "sdist url"])
def test_paths_are_named(forms: Bench, form: str) -> None:
    member(forms.project / "sub", "sub")
    match form:
        case "path":
            (forms.project / "requirements.txt").write_text("direct\n./sub\n")
        case "editable":
            (forms.project / "requirements.txt").write_text("-e ./sub\n")
        case "bare git":
            (forms.project / "requirements.txt").write_text("git+https://git.example/sub.git\n")
        case "file url":
            project(forms, dependencies=(f"sub @ file://{forms.project}/sub",))
        case "sdist url":
            project(forms, dependencies=("sub @ https://files.example/sub-1.tar.gz",))
        case _:
            project(forms, '[tool.uv.sources]\nsub = { path = "sub" }', dependencies=("sub",))
            if form == "uv.lock path":
                uv(forms, "lock", "-q")
    done = forms.build()
    assert (done.status, done.out) == (41, ""), done.err
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "sub" in errors[0]


def test_a_uv_lock_that_is_older_than_the_project(forms: Bench) -> None:
    """What it lacks is named; the rest is in test_uv_lock_fits."""
    project(forms)
    uv(forms, "lock", "-q")
    project(forms, OPTIONAL)
    configure(forms, 'groups = ["serve"]')
    done = forms.build()
    assert (done.status, done.out) == (41, ""), done.err
    assert "uv.lock does not have tester, which pyproject.toml requires in the group serve" in done.err


def test_a_uv_lock_whose_wheel_was_exchanged(forms: Bench) -> None:
    project(forms)
    uv(forms, "lock", "-q")
    wheel = WHEELS["direct", "2.0"]
    forms.index.corrupt[wheel[0]] = wheel[1][:-1] + b"x"
    done = forms.build()
    assert done.status == 51
    assert hashlib.sha256(wheel[1]).hexdigest() in done.err


def test_a_hashed_file_with_a_hash_that_nothing_has(forms: Bench) -> None:
    (forms.project / "requirements.txt").write_text(f"inner==1.0 --hash=sha256:{'0' * 64}\n")
    done = forms.build()
    assert done.status == 41
    assert "inner 1.0: the index has no file with one of the hashes that are given" in done.err


def test_a_file_in_which_some_rows_have_a_hash(forms: Bench) -> None:
    wheel = WHEELS["inner", "1.0"]
    row = f"inner==1.0 --hash=sha256:{hashlib.sha256(wheel[1]).hexdigest()}\n"
    (forms.project / "requirements.txt").write_text(row + "server==1.0\n")
    done = forms.build()
    assert (done.status, done.out) == (40, ""), done.err
    assert "server has no hash, and others have" in done.err
    assert "requirements.txt:2" in done.err
    assert not (forms.project / "pylock.dpbuild.toml").exists()
    (forms.project / "requirements.txt").write_text("--require-hashes\n" + row)
    forms.build(check=True)
    assert installed(forms.output) == {"inner==1.0"}
