"""Logins as people have them, against real registries: passwords, tokens, helpers, and nothing of them in anything.

The base is a small one that nothing could run: only who may read and write it matters here.
"""

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from factories.image import make_image
from factories.python_image import debian
from machinery import Ran, serving
from secrecy import forms, leaks
from servers.proxy import slow_relay
from servers.tokens import TokenService, htpasswd, token_service

pytestmark = [pytest.mark.registry]

PASSWORD = "hunter2/%:@+ü"
OTHER = "tr0ub4dor&3"
IDENTITY = "1dentity-t0ken-of-ann"


class Account:
    """A home with nothing but these logins in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config: dict[str, object] = {}
        (home / ".docker").mkdir(parents=True)
        (home / "bin").mkdir()

    def login(self, registry: str, user: str, password: str) -> None:
        auths = self.config.setdefault("auths", {})
        assert isinstance(auths, dict)
        auths[registry] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}

    def helper(self, name: str, body: str) -> None:
        """A shell script that answers ``get``; the server's name is in $server. ``calls`` says how often."""
        path = self.home / "bin" / f"docker-credential-{name}"
        path.write_text(f'#!/bin/sh\nserver=$(cat)\necho "$1 $server" >> {self.home}/calls\n{body}\n')
        path.chmod(0o755)

    def env(self, **more: str) -> dict[str, str]:
        import os

        (self.home / ".docker/config.json").write_text(json.dumps(self.config))
        return {
            "HOME": str(self.home),
            "DOCKER_CONFIG": "",
            "REGISTRY_AUTH_FILE": "",
            "XDG_RUNTIME_DIR": "",
            "XDG_CONFIG_HOME": "",
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            **more,
        }


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path / "home")


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A base of many layers."""
    image = make_image(tmp_path / "base", *debian(), *({f"opt/{number}": str(number)} for number in range(24)))
    return f"oci:{image.path}"


@pytest.fixture
def project(tmp_path: Path, base: str) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "main.py").write_text("print('hello')\n")
    (folder / "dpbuild.toml").write_text(f'base = "{base}"\nbytecode = false\nplatforms = ["linux/amd64"]\n')
    return folder


@pytest.fixture
def build(dpbuild: Callable[..., Ran], project: Path) -> Callable[..., Ran]:
    """Push the project to a tag."""

    def push(tag: str, env: dict[str, str], *words: object, check: bool = True) -> Ran:
        return dpbuild("build", project, "-t", tag, "--push", *words, env=env, check=check)

    return push


def skopeo(base: str, target: str, user: str, password: str) -> str:
    """Put the base into a registry; gives its reference."""
    words = ["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"{user}:{password}", base]
    subprocess.run([*words, f"docker://{target}"], check=True)
    return target


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenService]:
    folder = tmp_path / "tokens"
    folder.mkdir()
    with token_service(folder, users={"ann": PASSWORD, "bob": OTHER}, identities={IDENTITY: "ann"}) as service:
        yield service


@pytest.fixture
def guarded(tokens: TokenService, tmp_path: Path) -> Iterator[str]:
    """A registry that takes the service's tokens."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    with serving(folder, tokens.config) as address:
        yield address


@contextmanager
def with_password(folder: Path, user: str, password: str) -> Iterator[str]:
    folder.mkdir()
    with serving(folder, htpasswd(folder / "htpasswd", user, password)) as address:
        yield address


def refused(done: Ran, *words: str) -> str:
    """One error, 91, that says these words and what to do."""
    assert (done.status, done.out) == (91, "")
    assert len(re.findall(r"^error: ", done.err, re.MULTILINE)) == 1
    for word in words:
        assert word in done.err
    return done.err


# tokens


def test_tokens_for_what_is_needed_and_no_more(
    build: Callable[..., Ran], dpbuild: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account
) -> None:
    account.login(guarded, "ann", PASSWORD)
    line = build(f"{guarded}/ann/hello:1", account.env()).out.strip()
    assert line.startswith(f"{guarded}/ann/hello@sha256:")
    assert {user for user, _ in tokens.given} == {"ann"}
    assert {scope for _, scope in tokens.given} <= {"repository:ann/hello:pull", "repository:ann/hello:pull,push"}
    tokens.given.clear()
    dpbuild("inspect", line, "--platform", "linux/amd64", env=account.env(DPBUILD_CACHE_DIR=f"{account.home}/store"))
    assert {scope for _, scope in tokens.given} == {"repository:ann/hello:pull"}


def test_somebody_elses_repository(
    build: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account, tmp_path: Path
) -> None:
    account.login(guarded, "bob", OTHER)
    done = build(f"{guarded}/ann/hello:1", account.env(), "-v", check=False)
    refused(done, guarded, f"docker login {guarded}", ".docker/config.json")
    assert leaks(forms("bob", OTHER), done) == []


@pytest.mark.parametrize("password", ["wrong-passw0rd", None])
def test_a_login_that_the_service_refuses(
    build: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account, password: str | None
) -> None:
    """It even repeats what it was sent."""
    if password:
        account.login(guarded, "ann", password)
    done = build(f"{guarded}/ann/hello:1", account.env(), "-v", check=False)
    refused(done, guarded, f"docker login {guarded}")
    assert ("no credentials were found" in done.err) == (password is None)
    if password:
        assert leaks(forms("ann", password), done) == []
        assert tokens.refused == 1


@pytest.mark.skopeo
def test_everybody_may_read_what_is_public(
    build: Callable[..., Ran], base: str, registry: str, guarded: str, tokens: TokenService, account: Account
) -> None:
    tokens.users["public"] = OTHER
    public = skopeo(base, f"{guarded}/public/base:1", "public", OTHER)
    tokens.given.clear()
    done = build(f"{registry}/credentials/on-public:1", account.env(), "--base", public)
    assert done.out.startswith(registry)
    assert set(tokens.given) == {("", "repository:public/base:pull")}


@pytest.mark.parametrize("says", [300, 1, None], ids=["believed to live", "known to end", "unknown"])
def test_tokens_that_end_in_the_middle_are_renewed(
    build: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account, says: int | None
) -> None:
    """They live for one to two seconds, and the push takes more than five."""
    tokens.lives, tokens.says = 1, says
    with slow_relay(guarded, 0.1) as slow:
        account.login(slow, "ann", PASSWORD)
        line = build(f"{slow}/ann/hello:1", account.env()).out.strip()
    assert line.startswith(f"{slow}/ann/hello@sha256:")
    pushed = [row for row in tokens.given if row == ("ann", "repository:ann/hello:pull,push")]
    assert len(pushed) > 2


@pytest.mark.parametrize("way", ["file", "helper"])
def test_identity_tokens(
    build: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account, way: str
) -> None:
    if way == "file":
        account.config = {"auths": {guarded: {"auth": "", "identitytoken": IDENTITY}}}
    else:
        account.config = {"credsStore": "keeper"}
        account.helper("keeper", f"""echo '{{"Username":"<token>","Secret":"{IDENTITY}"}}'""")
    done = build(f"{guarded}/ann/hello:1", account.env(), "-v")
    assert done.out.startswith(f"{guarded}/ann/hello@")
    assert {user for user, _ in tokens.given} == {"ann"}
    assert leaks((IDENTITY.encode(),), done) == []


def test_an_identity_token_that_was_revoked(
    build: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account
) -> None:
    tokens.identities.clear()
    account.config = {"auths": {guarded: {"identitytoken": IDENTITY}}}
    done = build(f"{guarded}/ann/hello:1", account.env(), "-v", check=False)
    refused(done, guarded, f"docker login {guarded}")
    assert leaks((IDENTITY.encode(),), done) == []


# where logins are kept


@pytest.mark.skopeo
def test_several_registries_with_different_accounts(
    build: Callable[..., Ran], base: str, guarded: str, tokens: TokenService, account: Account, tmp_path: Path
) -> None:
    """The base comes from one, and the image goes to two others."""
    with (
        with_password(tmp_path / "one", "carol", PASSWORD) as one,
        with_password(tmp_path / "two", "dave", OTHER) as two,
    ):
        account.login(one, "carol", PASSWORD)
        account.login(two, "dave", OTHER)
        account.login(guarded, "bob", OTHER)
        private = skopeo(base, f"{one}/base:1", "carol", PASSWORD)
        done = build(f"{two}/hello:1", account.env(), "-t", f"{guarded}/bob/hello:1", "--base", private)
        assert done.out.startswith(f"{two}/hello@")
        said = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", "--creds", f"bob:{OTHER}", f"docker://{guarded}/bob/hello:1"],
            capture_output=True, check=True,
        )  # fmt: skip
    assert json.loads(said.stdout)["Digest"] == done.out.strip().rpartition("@")[2]
    assert {user for user, _ in tokens.given} == {"bob"}


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_the_files_of_docker_login_and_podman_login(
    build: Callable[..., Ran], account: Account, tmp_path: Path, need: Callable[..., None], program: str
) -> None:
    need(program)
    with with_password(tmp_path / "locked", "ann", OTHER) as locked:
        env = account.env()
        if program == "docker":
            command = ["docker", "--config", f"{account.home}/other", "login"]
            env["DOCKER_CONFIG"] = f"{account.home}/other"
        else:
            command = ["podman", "login", "--tls-verify=false", "--authfile", f"{account.home}/auth.json"]
            env["REGISTRY_AUTH_FILE"] = f"{account.home}/auth.json"
        words = [*command, "-u", "ann", "--password-stdin", locked]
        subprocess.run(words, input=OTHER, text=True, capture_output=True, check=True)
        assert build(f"{locked}/hello:1", env).out.startswith(f"{locked}/hello@")
        env |= {"DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": ""}
        refused(build(f"{locked}/hello:1", env, check=False), "no credentials were found")


def test_a_login_for_one_repository(
    build: Callable[..., Ran], guarded: str, tokens: TokenService, account: Account
) -> None:
    """As podman keeps them: ann's own, and bob's for everything else."""
    account.login(guarded, "bob", OTHER)
    account.login(f"{guarded}/ann", "ann", PASSWORD)
    build(f"{guarded}/ann/hello:1", account.env(), "-t", f"{guarded}/bob/hello:1")
    assert {user for user, _ in tokens.given} == {"ann", "bob"}
    assert ("ann", "repository:ann/hello:pull,push") in tokens.given
    # Bob asks whether he may read there, to mount from it, and for no more.
    assert not any("ann/hello:pull,push" in scope for user, scope in tokens.given if user == "bob")


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_credential_helpers(build: Callable[..., Ran], account: Account, tmp_path: Path, key: str) -> None:
    with with_password(tmp_path / "locked", "ann", OTHER) as locked:
        account.config = {key: {locked: "keeper"} if key == "credHelpers" else "keeper"}
        account.helper("keeper", f"""echo '{{"ServerURL":"{locked}","Username":"ann","Secret":"{OTHER}"}}'""")
        done = build(f"{locked}/hello:1", account.env(), "-v")
        assert done.out.startswith(f"{locked}/hello@")
        assert (account.home / "calls").read_text() == f"get {locked}\n", "asked once"
        assert leaks(forms("ann", OTHER), done) == []
        # What a helper says when it fails may hold anything.
        account.helper("keeper", f"echo 'cannot unlock {OTHER}'; echo '{OTHER}' >&2; exit 1")
        done = build(f"{locked}/hello:1", account.env(), "-v", check=False)
        refused(done, "docker-credential-keeper failed", "status 1")
        assert leaks(forms("ann", OTHER), done) == []
        (account.home / "bin/docker-credential-keeper").unlink()
        refused(build(f"{locked}/hello:1", account.env(), check=False), "'docker-credential-keeper' is not there")


# nothing of them anywhere


@pytest.mark.skopeo
@pytest.mark.parametrize("words", [("-v",), ("--progress", "json")], ids=" ".join)
def test_no_secret_is_left_anywhere(
    dpbuild: Callable[..., Ran],
    project: Path,
    base: str,
    guarded: str,
    tokens: TokenService,
    account: Account,
    tmp_path: Path,
    words: tuple[str, ...],
) -> None:
    """Not in what is said, in project and lock, in the store, in the image, nor in the registry."""
    account.login(guarded, "ann", PASSWORD)
    private = skopeo(base, f"{guarded}/ann/base:1", "ann", PASSWORD)
    out, env = tmp_path / "out", account.env(DPBUILD_CACHE_DIR=str(tmp_path / "store"))
    out.mkdir()
    common = ("build", project, *words, "--base", private, "--push", "-t")
    done = dpbuild(
        *common, f"{guarded}/ann/hello:1", "-o", out / "image", "-o", out / "image.tar",
        "--metadata-file", out / "metadata.json", env=env,
    )  # fmt: skip
    failed = dpbuild(*common, f"{guarded}/bob/hello:1", env=env, check=False)
    assert failed.status == 91
    places = (done, failed, project, out, tmp_path / "store", tmp_path / "guarded/data")
    assert leaks(forms("ann", PASSWORD), *places) == []
    # The header that all of the service's tokens have.
    assert leaks((b"eyJ0eXAiOiAiSldU",), *places) == []
    assert leaks((b"ann/base",), *places) != [], "the search finds what is there"
