"""What a container starts, followed through PATH, shebangs, wrappers and the interpreter's options."""

import pytest
from factories.elf import make_elf
from factories.image import File, Files, Folder, Link
from factories.subject import BASE_ENV, PYTHON, SITE, make_subject

from dpbuild.stages.proof.accounts import blocked
from dpbuild.stages.proof.start import Task, task

VENV: Files = {
    "opt/venv/pyvenv.cfg": File(b"home = /usr/bin\ninclude-system-site-packages = false\n"),
    "opt/venv/bin/python": Link(PYTHON),
    "opt/venv/bin/python3": Link("python"),
    "opt/venv/bin/serve": File(b"#!/opt/venv/bin/python\n", 0o755),
    "opt/venv/lib/python3.13/site-packages/api.py": File(b""),
}


@pytest.mark.parametrize(
    ("arguments", "script", "module"),
    [
        ("", "", ""),
        ("/app/main.py -x", "/app/main.py", ""),
        ("-m api -x", "", "api"),
        ("-um api", "", "api"),
        ("-mapi", "", "api"),
        ("-c 1", "", ""),
        ("-W error main.py", "main.py", ""),
        ("-Werror main.py", "main.py", ""),
        ("-X dev -u main.py", "main.py", ""),
        ("--check-hash-based-pycs never main.py", "main.py", ""),
        ("-- -odd.py", "-odd.py", ""),
        ("- main.py", "", ""),
        ("-V", "", ""),
    ],
)
def test_what_the_interpreter_is_told(arguments: str, script: str, module: str) -> None:
    told = task(tuple(arguments.split()))
    assert (told.script, told.module) == (script, module)


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("--reload", "main.py"), "--reload"),
        (("-E -s", "main.py"), "-E -s"),
        (("-Z", "main.py"), "-Z"),
        (("-uJ", "main.py"), "-uJ"),
        (("--check-hash-based-pycs=never", "main.py"), "--check-hash-based-pycs=never"),
        (("--check-hash-based-pycs",), "--check-hash-based-pycs"),
        (("-u", "-m"), "-m"),
        (("-W",), "-W"),
        (("-bBdEhiIOPqRsStuvVx?", "main.py", "--reload"), ""),
        (("--version",), ""),
        (("-X", "--reload", "main.py", "-Z"), ""),
        (("-c", "--reload"), ""),
        (("--", "--reload"), ""),
    ],
)
def test_options_that_python_does_not_know(arguments: tuple[str, ...], refused: str) -> None:
    assert task(arguments).refused == refused


def test_flags() -> None:
    assert task(("-IuX", "dev", "main.py")) == Task(script="main.py", flags=frozenset("IuX"), values=("dev",))


@pytest.mark.parametrize(
    ("argv", "chain"),
    [
        ("python -m api", ["/usr/bin/python"]),
        ("serve", ["/usr/local/bin/serve", PYTHON]),
        ("/usr/local/bin/env-serve", ["/usr/local/bin/env-serve", "/usr/bin/env", "/usr/bin/python3"]),
        ("/usr/local/bin/split", ["/usr/local/bin/split", "/usr/bin/env", "/usr/bin/python3"]),
        ("/tini -p SIGTERM -- python3 -m api", ["/tini", "/usr/bin/python3"]),
        ("/tini -g -- python3 -m api", ["/tini", "/usr/bin/python3"]),
        ("/tini -p SIGTERM -e 143 python3 -m api", ["/tini", "/usr/bin/python3"]),
        ("/tini -vpSIGTERM python3 -m api", ["/tini", "/usr/bin/python3"]),
        ("/dumb-init -r 15:2 --rewrite 1:2 --rewrite=3:4 -c python3 -m api", ["/dumb-init", "/usr/bin/python3"]),
        ("env -u HOME -C / --unset=A --chdir /x B=1 python3 -m api", ["/usr/bin/env", "/usr/bin/python3"]),
        ("env -i -- B=1 python3 -m api", ["/usr/bin/env", "/usr/bin/python3"]),
        ("/usr/local/bin/options", ["/usr/local/bin/options", "/usr/bin/env", "/usr/bin/python3"]),
        ("relative/tool", ["/home/nonroot/relative/tool", "/home/nonroot/relative/python"]),
        ("/tini -- /opt/venv/bin/serve", ["/tini", "/opt/venv/bin/serve", "/opt/venv/bin/python"]),
    ],
)
def test_the_chain(argv: str, chain: list[str]) -> None:
    files: Files = {
        "usr/local/bin/serve": File(f"#! {PYTHON} -u\n".encode(), 0o755),
        "usr/local/bin/env-serve": File(b"#!/usr/bin/env python3\n", 0o755),
        "usr/local/bin/split": File(b"#!/usr/bin/env -S A=1 python3 -u\n", 0o755),
        "usr/bin/env": File(make_elf(), 0o755),
        "usr/local/bin/options": File(b"#!/usr/bin/env -vS -u HOME 'python3' -u\n", 0o755),
        "home/nonroot/relative/tool": File(b"#!relative/python\n", 0o755),
        "home/nonroot/relative/python": Link(PYTHON),
        "tini": File(make_elf(), 0o755),
        "dumb-init": File(make_elf(), 0o755),
    }
    begun = make_subject(files | VENV, entrypoint=tuple(argv.split()), cmd=()).start
    assert list(begun.chain) == chain
    assert (begun.executable, begun.missing) == (chain[-1], "")


def test_a_chain_that_ends() -> None:
    files: Files = {"run": File(b"#!/root/.pyenv/python\n", 0o755), "loop": File(b"#!/loop\n", 0o755)}
    begun = make_subject(files, entrypoint=("/run",)).start
    assert (begun.chain, begun.missing, begun.executable) == (("/run",), "/root/.pyenv/python", "")
    assert set(make_subject(files, entrypoint=("/loop",)).start.chain) == {"/loop"}


@pytest.mark.parametrize(
    ("argv", "missing", "by"),
    [
        ("/tini -- gunicorn api:app", "gunicorn", "/tini"),
        ("/tini -p SIGTERM gunicorn", "gunicorn", "/tini"),
        ("env A=1 gunicorn", "gunicorn", "/usr/bin/env"),
        ("/tini -- env gunicorn", "gunicorn", "/usr/bin/env"),
        ("gunicorn", "gunicorn", ""),
        ("/relative", "python", ""),
        ("/env-two", "python3 -u", ""),
        ("env PATH=/x gunicorn", "", ""),
        ("/unknown", "", ""),
        ("/tini --", "", ""),
    ],
)
def test_what_a_chain_ends_at(argv: str, missing: str, by: str) -> None:
    files: Files = {
        "usr/bin/env": File(make_elf(), 0o755),
        "tini": File(make_elf(), 0o755),
        "relative": File(b"#!python\n", 0o755),
        "env-two": File(b"#!/usr/bin/env python3 -u\n", 0o755),
        "unknown": File(b"#!/usr/bin/env -S ${HOME}/python -u\n", 0o755),
    }
    begun = make_subject(files, entrypoint=tuple(argv.split())).start
    assert (begun.missing, begun.by, begun.executable) == (missing, by, "")


def test_the_path_of_a_virtual_environment() -> None:
    subject = make_subject(VENV, entrypoint=("/opt/venv/bin/serve",))
    assert subject.start.prefix == "/opt/venv"
    assert "/opt/venv/lib/python3.13/site-packages" in subject.sys_path
    assert not any("dist-packages" in row for row in subject.sys_path)
    assert subject.start.first == "/opt/venv/bin"
    plain = make_subject(VENV | {f"{SITE}/x.py": File(b"")})
    assert plain.start.prefix == ""
    assert f"/{SITE}" in plain.sys_path


def test_the_path_follows_options_and_env() -> None:
    files: Files = {f"{SITE}/x.py": File(b""), "home/nonroot/.local/lib/python3.13/site-packages/y.py": File(b"")}
    own = "/home/nonroot/.local/lib/python3.13/site-packages"
    env = (*BASE_ENV, "PYTHONPATH=/srv:lib")
    subject = make_subject(files, env=env)
    assert subject.sys_path[:2] == ("/srv", "/home/nonroot/lib")
    assert own in subject.sys_path
    assert own not in make_subject(files, env=(*env, "PYTHONNOUSERSITE=1")).sys_path
    isolated = make_subject(files, env=env, entrypoint=(PYTHON, "-I")).sys_path
    assert own not in isolated
    assert "/srv" not in isolated


def test_accounts() -> None:
    groups: Files = {"etc/group": File(b"root:x:0:\nshared:x:77:other,nonroot\n")}
    user = make_subject(groups).user
    assert (user.name, user.uid, user.gid, user.home, set(user.groups)) == (
        "nonroot",
        65532,
        65532,
        "/home/nonroot",
        {77},
    )
    assert make_subject(groups, user="65532:0").user.groups == frozenset()
    assert make_subject(user="1234").user.home == "/"
    assert make_subject(user="ann").user.unknown == "ann"
    assert make_subject(user="root:staffs").user.unknown == "root:staffs"


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "blocks"),
    [
        (0o700, 0, 0, True),
        (0o700, 65532, 0, False),
        (0o070, 65532, 65532, True),
        (0o050, 0, 65532, False),
        (0o705, 0, 65532, True),
        (0o750, 0, 77, False),
        (0o751, 0, 0, False),
    ],
)
def test_who_gets_through_a_folder(mode: int, uid: int, gid: int, blocks: bool) -> None:
    files: Files = {
        "etc/group": File(b"shared:x:77:nonroot\n"),
        "srv": Folder(mode, uid, gid),
        "srv/main.py": File(b"1", 0o444),
    }
    subject = make_subject(files)
    assert blocked(subject.tree, subject.user, "/srv/main.py") == ("/srv" if blocks else "")
    assert blocked(subject.tree, make_subject(files, user="0").user, "/srv/main.py") == ""
