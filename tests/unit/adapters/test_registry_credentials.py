"""What ``docker login``, ``podman login`` and credential helpers leave behind, found again."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dpbuild.adapters.registry.credentials import Credential, CredentialFiles, NoCredentials, credential_files
from dpbuild.errors import Unauthorized


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, value: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def helper(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def find(
    config: Any, tmp_path: Path, registry: str = "r.example.org", repository: str = "team/app"
) -> Credential | None:
    path = write(tmp_path / "config.json", config)
    env = {"PATH": f"{tmp_path / 'bin'}:{os.defpath}", "SEEN": str(tmp_path / "seen")}
    return CredentialFiles((path,), env).find(registry, repository)


@pytest.mark.parametrize(
    "key",
    ["r.example.org", "https://r.example.org", "http://r.example.org/", "https://r.example.org/v1/", "R.example.org"],
)
def test_docker_login(tmp_path: Path, key: str) -> None:
    found = find({"auths": {key: auth("ann", "a:b")}}, tmp_path)
    assert found is not None
    assert (found.username, found.password) == ("ann", "a:b")
    assert str(tmp_path) in found.origin
    assert "a:b" not in repr(found)


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(tmp_path: Path, key: str) -> None:
    found = find({"auths": {key: auth("ann", "pw")}}, tmp_path, "docker.io", "library/python")
    assert found is not None
    assert found.username == "ann"


def test_the_most_exact_key_of_podman_wins(tmp_path: Path) -> None:
    config = {
        "auths": {
            "r.example.org": auth("host", "1"),
            "r.example.org/team": auth("team", "2"),
            "r.example.org/team/app": auth("app", "3"),
        }
    }
    names = {}
    for repository in ("team/app", "team/app/sub", "team/other", "team2/app", "app"):
        found = find(config, tmp_path, repository=repository)
        names[repository] = found.username if found else None
    assert names == {"team/app": "app", "team/app/sub": "app", "team/other": "team", "team2/app": "host", "app": "host"}


def test_identity_tokens(tmp_path: Path) -> None:
    found = find({"auths": {"r.example.org": {**auth("00000000", ""), "identitytoken": "refresh"}}}, tmp_path)
    assert found is not None
    assert (found.identity_token, found.password) == ("refresh", "")
    assert "refresh" not in repr(found)


def test_registry_tokens(tmp_path: Path) -> None:
    found = find({"auths": {"r.example.org": {**auth("ann", "pw"), "registrytoken": "abc.DEF-1_2~3/4+5=="}}}, tmp_path)
    assert found is not None
    assert (found.registry_token, found.username) == ("abc.DEF-1_2~3/4+5==", "")
    assert found.secrets == ("abc.DEF-1_2~3/4+5==",)
    assert "abc" not in repr(found)


@pytest.mark.parametrize("token", ["a b", "a\nX-Header: 1", "a\r\n", ["a"]])
def test_what_is_no_registry_token(tmp_path: Path, token: Any) -> None:
    with pytest.raises(Unauthorized, match="registrytoken") as caught:
        find({"auths": {"r.example.org": {"registrytoken": token}}}, tmp_path)
    assert "X-Header" not in str(caught.value)


def test_plain_fields(tmp_path: Path) -> None:
    found = find({"auths": {"r.example.org": {"username": "ann", "password": "pw"}}}, tmp_path)
    assert found is not None
    assert (found.username, found.password) == ("ann", "pw")


@pytest.mark.parametrize(
    "config", [{}, {"auths": {}}, {"auths": None}, [], {"auths": {"r.example.org": {}}}, {"auths": []}]
)
def test_nothing_there(tmp_path: Path, config: Any) -> None:
    assert find(config, tmp_path) is None
    assert NoCredentials().find("r.example.org", "app") is None


def test_a_helper_is_asked_for_the_host(tmp_path: Path) -> None:
    helper(tmp_path / "bin", "vault", 'cat >> "$SEEN"; echo \'{"Username": "ann", "Secret": "pw"}\'')
    found = find({"credHelpers": {"r.example.org": "vault"}}, tmp_path)
    assert found is not None
    assert (found.username, found.password) == ("ann", "pw")
    assert "docker-credential-vault" in found.origin
    assert (tmp_path / "seen").read_text() == "r.example.org"


def test_a_helper_is_asked_once_for_docker_hub_by_its_old_key(tmp_path: Path) -> None:
    helper(tmp_path / "bin", "store", 'cat >> "$SEEN"; echo \'{"Username": "<token>", "Secret": "refresh"}\'')
    path = write(tmp_path / "config.json", {"credsStore": "store", "auths": {"https://index.docker.io/v1/": {}}})
    files = CredentialFiles((path,), {"PATH": str(tmp_path / "bin") + ":" + os.defpath, "SEEN": str(tmp_path / "seen")})
    for _ in range(2):
        found = files.find("docker.io", "library/python")
        assert found is not None
        assert (found.username, found.identity_token) == ("", "refresh")
    assert (tmp_path / "seen").read_text() == "https://index.docker.io/v1/"


def test_a_helper_for_the_host_wins_over_the_store(tmp_path: Path) -> None:
    helper(tmp_path / "bin", "one", 'echo \'{"Username": "one", "Secret": "pw"}\'')
    helper(tmp_path / "bin", "two", 'echo \'{"Username": "two", "Secret": "pw"}\'')
    found = find({"credsStore": "two", "credHelpers": {"r.example.org": "one"}}, tmp_path)
    assert found is not None
    assert found.username == "one"


def test_a_helper_that_knows_nothing_is_no_error(tmp_path: Path) -> None:
    helper(tmp_path / "bin", "empty", "echo credentials not found in native keychain; exit 1")
    found = find({"credsStore": "empty", "auths": {"r.example.org": auth("file", "pw")}}, tmp_path)
    assert found is not None
    assert found.username == "file"
    assert find({"credsStore": "empty"}, tmp_path) is None


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo the secret is pw; exit 3", "status 3"),
        ("echo no json", "makes no sense"),
        ("echo '[]'", "makes no sense"),
    ],
)
def test_a_helper_that_fails(tmp_path: Path, script: str, says: str) -> None:
    helper(tmp_path / "bin", "bad", script)
    with pytest.raises(Unauthorized, match=says) as caught:
        find({"credsStore": "bad"}, tmp_path)
    assert "secret is" not in str(caught.value)
    assert caught.value.where == str(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "a b"])
def test_a_helper_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unauthorized, match="is not there"):
        find({"credsStore": name}, tmp_path)


@pytest.mark.parametrize("config", ["{", "\x00", '{"auths": {"r.example.org": {"auth": "%%"}}}'])
def test_broken_files(tmp_path: Path, config: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        find(config, tmp_path)
    assert caught.value.where == str(tmp_path / "config.json")


def test_the_entry_without_a_colon_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized) as caught:
        find({"auths": {"r.example.org": {"auth": base64.b64encode(b"hunter2").decode()}}}, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_the_first_file_that_has_something_wins(tmp_path: Path) -> None:
    paths = (
        str(tmp_path / "absent.json"),
        write(tmp_path / "1.json", {"auths": {"other.example.org": auth("other", "pw")}}),
        write(tmp_path / "2.json", {"auths": {"r.example.org": auth("two", "pw")}}),
        write(tmp_path / "3.json", {"auths": {"r.example.org": auth("three", "pw")}}),
    )
    found = CredentialFiles(paths, {}).find("r.example.org", "app")
    assert found is not None
    assert found.username == "two"


def test_where_files_are() -> None:
    assert credential_files({}, "/home/ann") == (
        "/home/ann/.docker/config.json",
        "/home/ann/.config/containers/auth.json",
    )
    env = {
        "REGISTRY_AUTH_FILE": "/auth.json",
        "DOCKER_CONFIG": "/docker",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "XDG_CONFIG_HOME": "/conf",
    }
    assert credential_files(env, "/home/ann") == (
        "/auth.json",
        "/docker/config.json",
        "/run/user/1/containers/auth.json",
        "/conf/containers/auth.json",
    )
