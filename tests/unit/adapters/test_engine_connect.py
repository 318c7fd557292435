"""Where an engine is looked for, as docker and podman look for it."""

import hashlib
import json
import socket
from pathlib import Path

import pytest

from dpbuild.adapters.sandbox import connect as module
from dpbuild.adapters.sandbox.connect import Endpoint, EngineSettings, connect, endpoints
from dpbuild.errors import SandboxError


def context(home: Path, name: str, host: str, *, tls: bool = False, skip: bool = False) -> Path:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker/contexts/meta" / key
    meta.mkdir(parents=True)
    value = {"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}}}
    (meta / "meta.json").write_text(json.dumps(value))
    folder = home / ".docker/contexts/tls" / key / "docker"
    if tls:
        folder.mkdir(parents=True)
    return folder


def found(environment: dict[str, str], home: Path, kind: module.Kind = "docker") -> list[Endpoint]:
    return list(endpoints(EngineSettings.configured(environment, str(home)), kind))


def test_the_variable_wins_over_contexts(tmp_path: Path) -> None:
    context(tmp_path, "remote", "ssh://host")
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "remote"}')
    assert found({"DOCKER_HOST": "tcp://127.0.0.1:1"}, tmp_path) == [Endpoint("tcp://127.0.0.1:1", "", False)]
    given = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    assert found(given, tmp_path) == [Endpoint("tcp://127.0.0.1:1", "/certs", True)]


def test_contexts_as_the_docker_client_stores_them(tmp_path: Path) -> None:
    context(tmp_path, "remote", "ssh://host")
    folder = context(tmp_path, "secure", "tcp://example.org:2376", tls=True, skip=True)
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "remote"}')
    assert found({}, tmp_path) == [Endpoint("ssh://host")]
    assert found({"DOCKER_CONTEXT": "secure"}, tmp_path) == [Endpoint("tcp://example.org:2376", str(folder), False)]
    elsewhere = {"DOCKER_CONFIG": str(tmp_path / ".docker")}
    assert found(elsewhere, Path("/nonexistent")) == [Endpoint("ssh://host")]


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"Endpoints": {"docker": 1}}'])
def test_a_context_that_cannot_be_read_is_an_error_and_no_guess(tmp_path: Path, text: str) -> None:
    context(tmp_path, "x", "unix:///x")
    next(tmp_path.rglob("meta.json")).write_text(text)
    with pytest.raises(SandboxError, match="context 'x'"):
        found({"DOCKER_CONTEXT": "x"}, tmp_path)
    with pytest.raises(SandboxError, match="context 'missing'"):
        found({"DOCKER_CONTEXT": "missing"}, tmp_path)


@pytest.mark.parametrize("config", ["", "{", "[]", '{"currentContext": "default"}', '{"auths": {}}'])
def test_without_a_context_it_is_the_sockets(tmp_path: Path, config: str) -> None:
    (tmp_path / ".docker/run").mkdir(parents=True)
    (tmp_path / ".docker/config.json").write_text(config)
    (tmp_path / "docker.sock").touch()
    (tmp_path / ".docker/run/docker.sock").touch()
    places = [row.url for row in found({"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path)]
    assert places[-2:] == [f"unix://{tmp_path}/docker.sock", f"unix://{tmp_path}/.docker/run/docker.sock"]


def test_podman_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman/podman.sock").touch()
    given = {"DOCKER_HOST": "tcp://127.0.0.1:1", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert found(given, tmp_path, "podman")[0] == Endpoint(f"unix://{tmp_path}/podman/podman.sock")
    assert found({"CONTAINER_HOST": "unix:///p"}, tmp_path, "podman") == [Endpoint("unix:///p")]


def test_none_that_answers_is_one_error_with_every_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        settings = EngineSettings(host=place, podman_host=f"unix://{tmp_path}/none.sock")
        with pytest.raises(SandboxError) as caught:
            connect(settings)
    assert caught.value.exit_code == 100
    assert place in caught.value.what
    assert "none.sock" in caught.value.what
    assert caught.value.hint is not None


@pytest.mark.parametrize(("kind", "variable"), [("docker", "DOCKER_HOST"), ("podman", "CONTAINER_HOST")])
def test_the_hint_names_the_variable_of_the_engine(tmp_path: Path, kind: module.Kind, variable: str) -> None:
    settings = EngineSettings.configured({variable: f"unix://{tmp_path}/nothing"}, str(tmp_path))
    with pytest.raises(SandboxError) as caught:
        connect(settings, kind)
    assert f"set {variable}," in str(caught.value.hint)
