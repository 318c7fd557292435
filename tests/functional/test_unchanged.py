"""What was built before is recognised, by content; and whatever has changed is noticed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import BASE, Bench
from factories.wheel import make_wheel
from fakes.registry import fake_registry
from servers.tls import make_ca, make_certificate, server_context

from dpbuild import unchanged

SAME = "nothing has changed since the last build"


def settled(bench: Bench, *arguments: object) -> str:
    """A build that is recognised: its line on stdout."""
    bench.build(*arguments, check=True)
    done = bench.build(*arguments, check=True)
    assert SAME in done.err
    return done.out


def test_the_same_project(bench: Bench) -> None:
    first = bench.build(check=True)
    assert SAME not in first.err
    again = bench.build(check=True)
    assert SAME in again.err
    assert again.out == first.out
    # Times and names beside the content do not count.
    os.utime(bench.project / "main.py", (1, 1))
    (bench.project / "__pycache__").mkdir()
    assert SAME in bench.build(check=True).err


def nothing(bench: Bench) -> None:
    pass


def edit(bench: Bench) -> None:
    (bench.project / "main.py").write_text("print('HELLO')\n")


def same_size_and_time(bench: Bench) -> None:
    path = bench.project / "main.py"
    before = path.stat()
    path.write_text("print('jello')\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def executable(bench: Bench) -> None:
    (bench.project / "main.py").chmod(0o755)


def new_file(bench: Bench) -> None:
    (bench.project / "more.txt").write_text("")


def new_file_below(bench: Bench) -> None:
    (bench.project / "package" / "more.py").write_text("")


def removed(bench: Bench) -> None:
    (bench.project / "package" / "inner.py").unlink()


def link(bench: Bench) -> None:
    (bench.project / "link").unlink()
    (bench.project / "link").symlink_to("package")


def ignored(bench: Bench) -> None:
    (bench.project / ".gitignore").write_text("package/\n")


def configured(bench: Bench) -> None:
    bench.configure('labels = {a = "b"}')


def file_instead_of_folder(bench: Bench) -> None:
    (bench.project / "package" / "inner.py").unlink()
    (bench.project / "package").rmdir()
    (bench.project / "package").write_text("")


CHANGES = (
    edit,
    same_size_and_time,
    executable,
    new_file,
    new_file_below,
    removed,
    link,
    ignored,
    configured,
    file_instead_of_folder,
)


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed(bench: Bench, change: Callable[[Bench], None]) -> None:
    (bench.project / "package").mkdir()
    (bench.project / "package" / "inner.py").write_text("")
    (bench.project / "link").symlink_to("main.py")
    before = settled(bench)
    change(bench)
    done = bench.build(check=True)
    assert SAME not in done.err
    assert done.out != before


def test_the_lock_counts(bench: Bench) -> None:
    settled(bench)
    lock = bench.project / "pylock.dpbuild.toml"
    text = lock.read_text()
    lock.write_text(text + "# a word\n")
    assert SAME not in bench.build(check=True).err
    lock.unlink()
    assert SAME not in bench.build(check=True).err
    assert lock.read_text() == text
    lock.unlink()
    assert bench.build("--locked").status == 42


def test_flags_and_the_epoch_count(bench: Bench) -> None:
    before = settled(bench)
    done = bench.build(check=True, env={"SOURCE_DATE_EPOCH": "1700000000"})
    assert SAME not in done.err
    assert done.out != before
    assert SAME not in bench.build("--base", BASE.replace("nonroot", "latest")).err
    wrong = bench.build("--expect-digest", f"sha256:{'0' * 64}")
    assert wrong.status == 81
    # Where it goes does not count.
    other = bench.run("build", bench.project, "-o", bench.tmp / "other", check=True)
    assert SAME in other.err
    assert other.out.rpartition("@")[2] == before.rpartition("@")[2]


def test_what_is_left_out_is_said_each_time(bench: Bench) -> None:
    (bench.project / ".env").write_text("A=1\n")
    (bench.project / "deploy").write_text("-----BEGIN PRIVATE KEY-----\nMIIE\n")
    bench.configure('exclude = ["*.tmp"]')
    notes = [
        'note: deploy is left out, because it holds a private key; include = ["deploy"] takes it in',
        'note: left out, as they may hold secrets: .env (include = [".env"] takes it in)',
        'note: exclude: "*.tmp" matches nothing in the project',
    ]
    for again in (False, True, True):
        done = bench.build(check=True)
        told = [line for line in done.err.splitlines() if line in notes]
        assert (SAME in done.err, told) == (again, notes)


@pytest.fixture
def git(bench: Bench) -> Callable[..., None]:
    def run(*words: str, date: str = "2020-01-01T00:00:00Z") -> None:
        who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {**os.environ, **who, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        subprocess.run(["git", "-C", str(bench.project), *words], check=True, env=env, capture_output=True)

    return run


def test_a_commit_of_other_files_gives_the_same_image(bench: Bench, git: Callable[..., None]) -> None:
    """And why the files have no time is said in every build."""
    (bench.project / ".dockerignore").write_text("docs\n")
    (bench.project / "docs").mkdir()
    git("init", "-q")
    git("add", "main.py", "pyproject.toml", ".dockerignore")
    git("commit", "-qm", "one")
    before = settled(bench)
    (bench.project / "docs/x.md").write_text("one\n")
    assert bench.build(check=True).out == before
    git("add", "docs")
    git("commit", "-qm", "two", date="2022-01-01T00:00:00Z")
    assert bench.build(check=True).out == before
    (bench.project / "new.txt").write_text("")
    said = "note: the app's files are dated 1970-01-01, because new.txt is not in the last commit"
    for again in (False, True):
        done = bench.build(check=True)
        assert (SAME in done.err, done.err.count(said)) == (again, 1)
    assert done.out != before


def test_a_commit_counts(bench: Bench, git: Callable[..., None]) -> None:
    git("init", "-q")
    git("add", "main.py", "pyproject.toml")
    git("commit", "-qm", "one")
    before = settled(bench)
    git("commit", "-qm", "two", "--allow-empty")
    assert SAME in bench.build(check=True).err  # nothing below the project's folder
    git("commit", "-qm", "one", "--amend", "--allow-empty", date="2021-01-01T00:00:00Z")
    (bench.project / "main.py").write_text("print('HELLO')\n")
    git("commit", "-qam", "three", date="2022-01-01T00:00:00Z")
    assert bench.build(check=True).out != before
    settled(bench)
    (bench.project / "main.py").write_text("print('dirty')\n")
    assert SAME not in bench.build(check=True).err


def test_a_layer_that_is_gone_is_made_again(bench: Bench) -> None:
    before = settled(bench)
    for path in bench.cache.glob("blobs/sha256/*"):
        path.unlink()
    done = bench.run("build", bench.project, "-o", bench.tmp / "other", check=True)
    assert SAME not in done.err
    assert done.out.rpartition("@")[2] == before.rpartition("@")[2]


def test_large_evidence_is_where_it_was_put_or_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept twice; a registry that has it is not sent it, and another one gets the same."""
    monkeypatch.setattr(unchanged, "_LARGE", 1)
    settled(bench)
    (bench.project / "main.py").write_text("print('edited')\n")
    settled(bench)
    with fake_registry() as registry:

        def push(repository: str, *, same: bool) -> int:
            registry.forget()
            done = bench.run("build", bench.project, "--push", "-t", f"{registry.host}/{repository}:1", check=True)
            assert (SAME in done.err) is same
            return len(registry.requests)

        push("acme/app", same=False)
        assert push("acme/app", same=True) == 1
        (bench.project / "main.py").write_text("print('edited again')\n")
        push("acme/app", same=False)
        assert push("acme/app", same=True) == 1
        # It was made of the one before, and nobody has kept it; all that it takes to make it is there.
        shutil.rmtree(bench.cache / "maps/documents")
        push("acme/app", same=True)
        del registry.manifests["acme/app"]
        push("acme/app", same=False)
        first = registry.manifests.pop("acme/app")
        push("acme/app", same=False)
        assert registry.manifests["acme/app"] == first


def test_a_record_that_is_damaged_is_no_record(bench: Bench) -> None:
    before = settled(bench)
    for path in bench.cache.glob("maps/images/*"):
        path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    done = bench.build(check=True)
    assert SAME not in done.err
    assert done.out == before


def test_one_request_finds_that_the_tag_is_right(bench: Bench) -> None:
    with fake_registry() as registry:
        arguments = ("--push", "-t", f"{registry.host}/acme/app:1")
        bench.run("build", bench.project, *arguments, check=True)
        before = len(registry.requests)
        done = bench.run("build", bench.project, *arguments, check=True)
        assert SAME in done.err
        asked = registry.requests[before:]
    assert len(asked) == 1
    assert "HEAD" in str(asked[0])
    assert "manifests/1" in str(asked[0])


HEAVY = {
    "concurrent.futures",
    "dataclasses",
    "inspect",
    "click",
    "docker",
    "dpbuild.pipeline",
    "dpbuild.stages",
    "email",
    "http.client",
    "packaging",
    "pathspec",
    "requests",
    "subprocess",
    "tomlkit",
    "urllib3",
}


def imported(bench: Bench, *arguments: object, env: dict[str, str] | None = None) -> set[str]:
    """The modules of a run that finds nothing changed."""
    code = (
        "import sys; from dpbuild.cli.main import main\n"
        "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "build", bench.project, *arguments],
        env={**os.environ, **bench.environment, **(env or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    assert SAME in done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_what_is_imported(bench: Bench) -> None:
    """Counted, since time is not: neither the stages nor what they need."""
    settled(bench)
    modules = imported(bench, "-o", bench.output)
    assert modules & HEAVY == set()
    own = [name for name in modules if name.startswith("dpbuild")]
    assert len(own) <= 43, sorted(own)
    assert len(modules) <= 145


@pytest.mark.parametrize("auth", ["none", "basic", "token"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "TLS"])
def test_what_a_push_imports_and_asks(bench: Bench, tmp_path: Path, auth: str, secure: bool) -> None:
    """The same for every registry, and what a login needs besides: requests, no libraries."""
    ca = make_ca(tmp_path, "ca") if secure else None
    context = server_context(*make_certificate(ca, "server", "127.0.0.1")) if ca else None
    with fake_registry(tls=context, auth=auth, users={"ann": "secret"}) as registry:
        login = {"auths": {registry.host: {"username": "ann", "password": "secret"}}}
        (tmp_path / "config.json").write_text(json.dumps(login))
        env = {"DOCKER_CONFIG": str(tmp_path), **({"SSL_CERT_FILE": str(ca)} if ca else {})}
        arguments = ("--push", "-t", f"{registry.host}/acme/app:1")
        bench.run("build", bench.project, *arguments, check=True, env=env)
        before = len(registry.requests)
        modules = imported(bench, *arguments, env=env)
        asked = registry.requests[before:]
    assert modules & HEAVY == set()
    own = [name for name in modules if name.startswith("dpbuild")]
    assert len(own) <= 65, sorted(own)
    assert len(modules) <= 166
    # On loopback, whether a registry speaks TLS is asked for once.
    found_out = ["GET /v2/"] if secure else []
    refused = ["HEAD /v2/acme/app/manifests/1"] if auth != "none" else []
    token = ["GET /token"] if auth == "token" else []
    assert [row.partition("?")[0] for row in asked] == [*found_out, *refused, *token, "HEAD /v2/acme/app/manifests/1"]


@pytest.mark.parametrize("count", [3, 30])
def test_the_number_of_dependencies_does_not_count(bench: Bench, count: int) -> None:
    """What is read of the project is what is compared: its own files, by their contents."""
    for number in range(count):
        bench.index.add(make_wheel(f"part{number}", "1.0", files={f"part{number}.py": "x = 1\n"}))
    bench.configure(dependencies=tuple(f"part{number}" for number in range(count)))
    settled(bench)
    reads: list[str] = []
    real = Path.open

    def opened(path: Path, *given: Any, **named: Any) -> Any:
        reads.append(str(path))
        return real(path, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", opened)
        assert SAME in bench.build(check=True).err
    below = [path for path in reads if path.startswith(str(bench.cache))]
    # The record of the build, in two parts; layers and wheels are not opened.
    assert len(below) == 2, below


def test_halves_of_two_records_are_none(bench: Bench) -> None:
    """As two builds at once may leave them."""
    first = settled(bench)
    (rest,) = (path for path in bench.cache.glob("maps/images/*") if b"CycloneDX" in path.read_bytes())
    kept = rest.read_bytes()
    edit(bench)
    second = settled(bench)
    assert second != first
    rest.write_bytes(kept)
    done = bench.build(check=True)
    assert SAME not in done.err
    assert done.out == second


def test_the_trace_is_of_this_project(bench: Bench, tmp_path: Path) -> None:
    """Another folder with the same files is another project, though its image is the same."""
    before = settled(bench)
    other = tmp_path / "elsewhere"
    bench.project.rename(other)
    done = bench.run("build", other, "-o", bench.output, check=True)
    assert SAME not in done.err
    assert done.out == before
