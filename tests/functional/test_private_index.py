"""Private indexes: logins in every form that uv and pip take them, for resolving and for downloading, kept nowhere."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from bench import Bench
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from fakes.index import Index, serve_index
from secrecy import forms, leaks

USER, PASSWORD = "ann", "hunter2/%:@+"
# netrc files have no quoting.
PLAIN = "hunter2plain"


@pytest.fixture
def private(bare: Bench) -> Bench:
    """A project on a base that needs no mirror, and an index that lets only ann in."""
    image = make_image(bare.tmp / "base", *debian())
    bare.configure(f'base = "oci:{image.path}"', 'platforms = ["linux/amd64"]')
    bare.index.login = (USER, PASSWORD)
    return bare


def with_user(url: str, user: str, password: str) -> str:
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@")


def named(bench: Bench, url: str, more: str = "") -> None:
    """An index of the project's own, with a name."""
    path = bench.project / "pyproject.toml"
    path.write_text(path.read_text() + f'[[tool.uv.index]]\nname = "own-one"\nurl = "{url}"\n{more}default = true\n')


def url_in_environment(bench: Bench) -> dict[str, str]:
    return {"UV_DEFAULT_INDEX": with_user(bench.index.simple, USER, PASSWORD)}


def old_name_of_uv(bench: Bench) -> dict[str, str]:
    return {"UV_DEFAULT_INDEX": "", "UV_INDEX_URL": with_user(bench.index.simple, USER, PASSWORD)}


def named_in_environment(bench: Bench) -> dict[str, str]:
    return {
        "UV_DEFAULT_INDEX": f"own={bench.index.simple}",
        "UV_INDEX_OWN_USERNAME": USER,
        "UV_INDEX_OWN_PASSWORD": PASSWORD,
    }


def named_in_the_project(bench: Bench) -> dict[str, str]:
    named(bench, bench.index.simple)
    return {"UV_DEFAULT_INDEX": "", "UV_INDEX_OWN_ONE_USERNAME": USER, "UV_INDEX_OWN_ONE_PASSWORD": PASSWORD}


def always_authenticated(bench: Bench) -> dict[str, str]:
    named(bench, bench.index.simple, 'authenticate = "always"\n')
    return {"UV_DEFAULT_INDEX": "", "UV_INDEX_OWN_ONE_USERNAME": USER, "UV_INDEX_OWN_ONE_PASSWORD": PASSWORD}


def url_in_uv_toml(bench: Bench) -> dict[str, str]:
    folder = bench.tmp / "config/uv"
    folder.mkdir(parents=True)
    url = with_user(bench.index.simple, USER, PASSWORD)
    (folder / "uv.toml").write_text(f'index-url = "{url}"\n')
    return {"UV_DEFAULT_INDEX": "", "XDG_CONFIG_HOME": str(bench.tmp / "config")}


def pip_conf(bench: Bench) -> dict[str, str]:
    path = bench.tmp / "pip.conf"
    path.write_text(f"[global]\nindex-url = {with_user(bench.index.simple, USER, PASSWORD)}\n")
    return {"UV_DEFAULT_INDEX": "", "PIP_CONFIG_FILE": str(path), "PIP_INDEX_URL": ""}


def pip_variable(bench: Bench) -> dict[str, str]:
    return {"UV_DEFAULT_INDEX": "", "PIP_INDEX_URL": with_user(bench.index.simple, USER, PASSWORD)}


def netrc(bench: Bench) -> dict[str, str]:
    bench.index.login = (USER, PLAIN)
    path = bench.tmp / "netrc"
    path.write_text(f"machine 127.0.0.1 login {USER} password {PLAIN}\n")
    return {"NETRC": str(path)}


def netrc_default(bench: Bench) -> dict[str, str]:
    bench.index.login = (USER, PLAIN)
    path = bench.tmp / "netrc"
    path.write_text(f"machine other.example login x password y\ndefault login {USER} password {PLAIN}\n")
    return {"NETRC": str(path)}


def find_links(bench: Bench) -> dict[str, str]:
    url = with_user(bench.index.url + "/simple/demo/", USER, PASSWORD)
    return {"UV_DEFAULT_INDEX": "", "UV_NO_INDEX": "1", "UV_FIND_LINKS": url}


def keyring(bench: Bench) -> dict[str, str]:
    """The program that uv and pip ask; it knows the index only."""
    program = bench.tmp / "bin/keyring"
    program.parent.mkdir()
    answer = f"case \"$*\" in *{bench.index.url.partition('//')[2]}*{USER}*) echo '{PASSWORD}';; *) exit 1;; esac"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    import os

    url = bench.index.simple.replace("://", f"://{USER}@")
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"UV_DEFAULT_INDEX": url, "UV_KEYRING_PROVIDER": "subprocess", "PATH": path}


WAYS = (
    url_in_environment, old_name_of_uv, named_in_environment, named_in_the_project, always_authenticated, url_in_uv_toml,
    pip_conf, pip_variable, netrc, netrc_default, find_links, keyring,
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_logins(private: Bench, way: Callable[[Bench], dict[str, str]]) -> None:
    env = way(private)
    metadata = private.tmp / "metadata.json"
    done = private.build("-v", "--progress", "json", "--metadata-file", metadata, env=env)
    assert done.status == 0, done.err
    assert any("/files/demo-1.0" in path for path in private.index.requests)
    secret = forms(USER, PLAIN if way in (netrc, netrc_default) else PASSWORD)
    lock = private.project / "pylock.dpbuild.toml"
    assert "@" not in lock.read_text()
    assert leaks(secret, done, lock, private.output, private.cache, metadata) == []
    # From the lock alone, with an empty store: downloads need the login as much as resolving does.
    again = private.build("--locked", "--cache-dir", private.tmp / "other", env=env)
    assert again.status == 0, again.err
    assert again.out == done.out


def test_a_login_is_not_sent_along_to_another_host(private: Bench) -> None:
    """Files may be served by another host than the pages; it gets none of it."""
    with serve_index() as files:
        files.add(make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 200}))
        private.index.file_url = lambda name: f"{files.url.replace('127.0.0.1', 'localhost')}/files/{name}"  # type: ignore[method-assign]
        done = private.build(env=url_in_environment(private))
    assert done.status == 0, done.err
    assert any("demo-1.0" in path for path in files.requests)
    assert set(files.authorizations) == {""}


@pytest.mark.parametrize("words", [(), ("-v",), ("--progress", "json")], ids=" ".join)
@pytest.mark.parametrize("locked", [False, True])
def test_errors_repeat_no_login(private: Bench, words: tuple[str, ...], locked: bool) -> None:
    env = url_in_environment(private)
    if locked:
        private.build(env=env, check=True)
    wrong = {"UV_DEFAULT_INDEX": with_user(private.index.simple, USER, "wr0ng-passw0rd")}
    more = ("--locked", "--cache-dir", private.tmp / "other") if locked else ()
    done = private.build(*words, *more, env=wrong)
    assert done.status == (50 if locked else 40)
    assert "credentials" in done.err
    assert leaks(forms(USER, "wr0ng-passw0rd"), done, private.cache) == []


def test_an_index_with_a_login_that_cannot_be_reached(private: Bench) -> None:
    env = {"UV_DEFAULT_INDEX": with_user("http://127.0.0.1:9/simple/", USER, PASSWORD), "UV_HTTP_RETRIES": "0"}
    done = private.build("-v", env=env)
    assert done.status == 40
    assert "the package index cannot be reached" in done.err
    assert leaks(forms(USER, PASSWORD), done) == []


@pytest.fixture
def second() -> Iterator[Index]:
    with serve_index() as index:
        index.login = ("bob", "tr0ub4dor")
        index.add(make_wheel("extra", "1.0"))
        yield index


def test_two_indexes_with_different_logins(private: Bench, second: Index) -> None:
    private.configure(*_base(private), dependencies=("demo", "extra"))
    env = {**url_in_environment(private), "UV_INDEX": with_user(second.simple, "bob", "tr0ub4dor")}
    done = private.build("-v", env=env)
    assert done.status == 0, done.err
    assert leaks((*forms(USER, PASSWORD), *forms("bob", "tr0ub4dor")), done, private.cache, private.output) == []


def _base(bench: Bench) -> tuple[str, ...]:
    return (f'base = "oci:{bench.tmp}/base"', 'platforms = ["linux/amd64"]')


def test_a_login_in_requirements_is_refused(private: Bench) -> None:
    """41 or 40, and it is not repeated."""
    url = with_user(private.index.file_url("demo-1.0-py3-none-any.whl"), USER, PASSWORD)
    private.configure(*_base(private), dependencies=(f"demo @ {url}",))
    done = private.build("-v")
    assert done.status in (40, 41), done.err
    assert "user or password" in done.err
    assert leaks(forms(USER, PASSWORD), done) == []


def test_secrets_of_the_project_are_not_packed(private: Bench, tmp_path: Path) -> None:
    """A netrc or pip.conf that lies in the project is somebody's login."""
    for name in (".netrc", "pip.conf", ".pypirc", ".env"):
        (private.project / name).write_text(f"machine x login {USER} password {PASSWORD}\n")
    done = private.build(env=url_in_environment(private))
    assert done.status == 0, done.err
    left = leaks(forms(USER, PASSWORD), private.output)
    assert left == [], "packed"
