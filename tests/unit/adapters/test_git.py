"""What git says of a project's files; git itself is asked, in real repositories."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from repositories import ENV

from dpbuild.adapters.project import DiskProject
from dpbuild.model.files import Committed

ONE, TWO, THREE = 1_500_000_000, 1_600_000_000, 1_700_000_000


def git(folder: Path, *arguments: str, time: int = ONE) -> str:
    names = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {"GIT_AUTHOR_DATE": "@1 +0000", "GIT_COMMITTER_DATE": f"@{time} +0000"}
    allowed = ["-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *allowed, "-C", folder, *arguments],
        env={**ENV, **names, **dates},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def fill(folder: Path, *names: str, text: str = "") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or name)


def commit(folder: Path, *names: str, time: int = ONE, text: str = "") -> str:
    """Files with new contents, and the commit that has them."""
    fill(folder, *names, text=text or f"at {time}")
    git(folder, "add", "-f", *names)
    git(folder, "commit", "-qm", "x", "--allow-empty", time=time)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit with ``app.py``."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "app.py")
    return folder


def said(folder: Path, env: dict[str, str] | None = None) -> Committed:
    """Of what a copied app would consist of."""
    project = DiskProject(folder, env or ENV)
    return project.committed([file.path for file in project.app_files((), ())])


def when(folder: Path) -> int | None:
    return said(folder).time


def test_the_time_of_a_clean_checkout(tmp_path: Path) -> None:
    fill(tmp_path, "app.py", "pylock.dpbuild.toml")
    assert said(tmp_path) == Committed()
    git(tmp_path, "init", "-q")
    assert said(tmp_path) == Committed(reason="there is no commit yet")
    one = commit(tmp_path, "app.py")
    assert said(tmp_path) == Committed(commit=one, time=ONE)
    fill(tmp_path, "app.py", text="changed")
    assert said(tmp_path) == Committed(reason="app.py is not what the last commit has")
    two = commit(tmp_path, "app.py", time=TWO)
    assert said(tmp_path) == Committed(commit=two, time=TWO)
    fill(tmp_path, "new.py")
    assert said(tmp_path) == Committed(reason="new.py is not in the last commit")


def test_what_dpbuild_writes_makes_no_checkout_unclean(repository: Path) -> None:
    """Else the second build would not be the first one again."""
    before = said(repository)
    assert before.time == ONE
    fill(repository, ".dpbuild/image/index.json", "pylock.dpbuild.toml", "pylock.dpbuild-build.toml")
    assert said(repository) == before
    written = DiskProject(repository, ENV, [repository / "out.tar"])
    fill(repository, "out.tar")
    assert written.committed([file.path for file in written.app_files((), ())]) == before
    (repository / "out.tar").unlink()
    commit(repository, "pylock.dpbuild.toml", time=TWO)
    fill(repository, "pylock.dpbuild.toml", text="renewed")
    assert (said(repository).time, said(repository).commit != "") == (ONE, True)


def test_a_commit_that_touches_no_file_of_the_image_changes_no_time(repository: Path) -> None:
    """The revision is the folder's last commit all the same."""
    fill(repository, ".dockerignore", text="docs\n")
    commit(repository, "docs/x.md", ".dockerignore", time=TWO, text="docs\n")
    head = commit(repository, "docs/x.md", time=THREE)
    assert said(repository) == Committed(commit=head, time=ONE)


def test_a_project_in_a_bigger_repository(repository: Path) -> None:
    two = commit(repository, "sub/lib.py", time=TWO)
    commit(repository, "app.py", time=THREE)
    assert said(repository / "sub") == Committed(commit=two, time=TWO)
    fill(repository, "app.py", text="changed")
    fill(repository, "sub/.dpbuild/x")
    assert said(repository / "sub") == Committed(commit=two, time=TWO)


def test_a_change_beside_the_image_costs_the_revision_alone(repository: Path) -> None:
    commit(repository, ".dockerignore", "docs/x.md", time=TWO, text="docs\n")
    fill(repository, "docs/x.md", text="changed")
    assert said(repository) == Committed(commit="", time=ONE)


def test_modes_and_links_count(repository: Path) -> None:
    (repository / "link").symlink_to("app.py")
    (repository / "run.sh").write_text("x")
    (repository / "run.sh").chmod(0o755)
    git(repository, "add", "link", "run.sh")
    git(repository, "commit", "-qm", "x", time=TWO)
    assert when(repository) == TWO
    (repository / "run.sh").chmod(0o644)
    assert said(repository).reason == "run.sh is not what the last commit has"
    (repository / "run.sh").chmod(0o700)
    (repository / "link").unlink()
    (repository / "link").symlink_to("run.sh")
    assert said(repository).reason == "link is not what the last commit has"


def test_names_of_every_kind(repository: Path) -> None:
    names = ["a b.py", "ä.py", "[ab]*.py", "a\tb.py", "a\nb.py", ":(top)x.py", '"q".py', "-x.py"]
    fill(repository, *names)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "x", time=TWO)
    assert when(repository) == TWO
    commit(repository, "b.py", time=THREE)
    (repository / ".dockerignore").write_text("b.py\n.dockerignore\n")
    # One of them has a line break, and stands for the whole folder.
    assert when(repository) == THREE
    (repository / "a\nb.py").unlink()
    assert said(repository) == Committed(commit="", time=TWO)


def test_more_names_than_a_command_line_can_have(repository: Path) -> None:
    names = ["/".join(["x" * 200] * 12 + [str(number)]) for number in range(1000)]
    fill(repository, *names)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "x", time=TWO)
    commit(repository, "app.py", time=THREE)
    project = DiskProject(repository, ENV)
    assert project.committed(names).time == TWO


# what git can be told to overlook


@pytest.mark.parametrize(
    "way", ["core.excludesFile", "global ignore", "info/exclude", "showUntrackedFiles", "the index"]
)
def test_a_file_that_git_is_told_not_to_see(repository: Path, tmp_path: Path, way: str) -> None:
    env = dict(ENV)
    ignore = tmp_path / "ignore"
    ignore.write_text("notes.txt\n")
    match way:
        case "core.excludesFile":
            git(repository, "config", "core.excludesFile", str(ignore))
        case "global ignore":
            (tmp_path / "home/git").mkdir(parents=True)
            (tmp_path / "home/git/ignore").write_text("notes.txt\n")
            env["XDG_CONFIG_HOME"] = str(tmp_path / "home")
        case "info/exclude":
            (repository / ".git/info").mkdir(exist_ok=True)
            (repository / ".git/info/exclude").write_text("notes.txt\n")
        case "showUntrackedFiles":
            git(repository, "config", "status.showUntrackedFiles", "no")
    fill(repository, "notes.txt")
    if way == "the index":
        git(repository, "add", "notes.txt")
    assert said(repository, env).reason == "notes.txt is not in the last commit"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_change_that_git_is_told_not_to_see(repository: Path, flag: str) -> None:
    git(repository, "update-index", flag, "app.py")
    fill(repository, "app.py", text="changed")
    assert git(repository, "status", "--porcelain") == ""
    assert said(repository).reason == "app.py is not what the last commit has"


def test_ends_of_lines_are_gits_matter(repository: Path) -> None:
    commit(repository, ".gitattributes", time=TWO, text="*.bat text eol=crlf\n")
    commit(repository, "run.bat", time=TWO, text="a\nb\n")
    (repository / "run.bat").unlink()
    git(repository, "checkout", "-q", "run.bat")
    assert (repository / "run.bat").read_bytes() == b"a\r\nb\r\n"
    assert when(repository) == TWO
    (repository / "run.bat").write_bytes(b"a\r\nc\r\n")
    assert said(repository).reason == "run.bat is not what the last commit has"


def test_a_filter_is_asked_what_it_would_commit(repository: Path) -> None:
    """As of LFS: what lies in the folder is not what the commit holds."""
    git(repository, "config", "filter.big.clean", "sed s/large/pointer/")
    git(repository, "config", "filter.big.smudge", "sed s/pointer/large/")
    commit(repository, ".gitattributes", time=TWO, text="*.bin filter=big\n")
    commit(repository, "x.bin", time=TWO, text="large")
    assert git(repository, "show", "HEAD:x.bin") == "pointer"
    assert when(repository) == TWO


# what a build backend sees and does not pack


def test_what_gitignore_names_counts_if_it_is_packed(repository: Path) -> None:
    commit(repository, ".gitignore", time=TWO, text="build/\n_version.py\n")
    fill(repository, "build/lib/app.py", text=f"at {ONE}")
    fill(repository, "build/log", "pkg/_version.py")
    project = DiskProject(repository, ENV)
    files = {file.path: file.sha256 for file in project.build_files()}
    assert "build/lib/app.py" in files
    assert files["build/lib/app.py"] == files["app.py"]
    packed = {files["app.py"]}
    assert project.committed(files, files, packed).time == TWO
    assert project.committed(files, files, {*packed, files["pkg/_version.py"]}).reason == (
        "pkg/_version.py is not in the last commit"
    )
    assert project.committed(files, {}, ()).reason == "build/lib/app.py is not in the last commit"
    # Only ignore files that everybody has.
    (repository / ".git/info").mkdir(exist_ok=True)
    (repository / ".git/info/exclude").write_text("mine.txt\n")
    fill(repository, "mine.txt")
    files = {file.path: file.sha256 for file in project.build_files()}
    assert project.committed(files, files, packed).reason == "mine.txt is not in the last commit"


# clones


def test_a_shallow_clone_says_what_a_full_one_says_or_nothing(repository: Path, tmp_path: Path) -> None:
    commit(repository, "sub/lib.py", time=TWO)
    commit(repository, "app.py", time=THREE)
    full = said(repository / "sub")
    assert full.time == TWO
    found = {}
    for depth in (1, 2, 3):
        clone = tmp_path / f"depth{depth}"
        git(tmp_path, "clone", "-q", "--depth", str(depth), f"file://{repository}", str(clone))
        found[depth] = said(clone / "sub")
    for depth in (1, 2):
        assert (found[depth].time, found[depth].commit) == (None, "")
        assert "shallow" in found[depth].reason
        assert "fetch-depth: 0" in found[depth].reason
    assert found[3] == full
    git(tmp_path / "depth1", "fetch", "-q", "--unshallow")
    assert said(tmp_path / "depth1/sub") == full


def test_a_clone_is_known_again_only_with_its_history(repository: Path, tmp_path: Path) -> None:
    """``still`` compares what decides, and that is more than the commit."""
    clone = tmp_path / "clone"
    commit(repository, "app.py", time=TWO)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(clone))
    project = DiskProject(clone, ENV)
    project.committed([file.path for file in project.app_files((), ())])
    seen = project.seen()
    assert DiskProject(clone, ENV).still(seen)
    git(clone, "fetch", "-q", "--unshallow")
    assert not DiskProject(clone, ENV).still(seen)


def test_another_commit_that_says_the_same(repository: Path) -> None:
    project = DiskProject(repository / "sub", ENV)
    commit(repository, "sub/lib.py", time=TWO)
    project.committed([file.path for file in project.app_files((), ())])
    seen = project.seen()
    commit(repository, "app.py", time=THREE)
    assert DiskProject(repository / "sub", ENV).still(seen)
    commit(repository, "sub/lib.py", time=THREE)
    assert not DiskProject(repository / "sub", ENV).still(seen)


def test_worktrees_and_submodules(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert said(tmp_path / "tree") == said(repository)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    commit(other, "lib.py", time=ONE)
    git(repository, "submodule", "-q", "add", str(other), "vendor/other")
    git(repository, "commit", "-qm", "x", time=TWO)
    assert "vendor/other/lib.py" in {file.path for file in DiskProject(repository, ENV).app_files((), ())}
    assert when(repository) == TWO
    fill(repository, "vendor/other/lib.py", text="changed")
    assert said(repository).reason == "vendor/other/lib.py is not what the last commit has"
    git(repository / "vendor/other", "commit", "-qam", "x", time=THREE)
    assert said(repository).reason == "vendor/other/lib.py is not what the last commit has"
    git(repository, "commit", "-qam", "x", time=THREE)
    assert when(repository) == THREE


def test_objects_named_by_sha256(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    head = commit(tmp_path, "app.py")
    assert re.fullmatch("[0-9a-f]{64}", head)
    assert said(tmp_path) == Committed(commit=head, time=ONE)


# who asks


@pytest.fixture
def foreign(repository: Path) -> Path:
    """The repository, as if another user had made it."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for folder, folders, files in os.walk(repository):
        for name in (folder, *(os.path.join(folder, row) for row in (*folders, *files))):
            os.chown(name, 12345, 12345, follow_symlinks=False)
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "status")
    return repository


def test_a_checkout_of_another_user_says_the_same(repository: Path, request: pytest.FixtureRequest) -> None:
    before = said(repository)
    assert before.time == ONE
    assert said(request.getfixturevalue("foreign")) == before


def test_nothing_is_run_that_another_users_repository_names(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """git refuses such repositories because their configuration names programs."""
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    commit(repository, ".gitattributes", text="*.bin filter=trap diff=trap\n")
    commit(repository, "x.bin", text="x")
    rows = ("filter.trap.clean", "filter.trap.smudge", "core.fsmonitor", "diff.trap.textconv", "gpg.program")
    for key in (*rows, "core.sshCommand", "core.pager", "diff.external"):
        git(repository, "config", key, str(trap))
    git(repository, "config", "log.showSignature", "true")
    # A partial clone fetches what it lacks when it is asked for.
    git(repository, "config", "remote.origin.url", "ssh://nowhere.example/x")
    git(repository, "config", "remote.origin.promisor", "true")
    git(repository, "config", "extensions.partialClone", "origin")
    fill(repository, "x.bin", text="changed")
    assert said(request.getfixturevalue("foreign")).reason == "x.bin is not what the last commit has"
    tree = git_objects(repository)
    shutil.rmtree(tree)
    assert said(repository).reason.startswith("git says: ")
    assert not (tmp_path / "sprung").exists()


def git_objects(repository: Path) -> Path:
    """The folder that has the object of the last commit's tree."""
    command = ["git", "-c", "safe.directory=*", "-C", str(repository), "rev-parse", "HEAD^{tree}"]
    name = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout
    return repository / ".git/objects" / name[:2]


def test_git_that_is_not_there(repository: Path, tmp_path: Path) -> None:
    assert said(repository, {**ENV, "PATH": str(tmp_path)}) == Committed(reason="git is not installed")


def test_a_repository_that_is_none(tmp_path: Path) -> None:
    fill(tmp_path, "app.py", ".git/HEAD")
    assert said(tmp_path).reason.startswith("git says: fatal: ")
