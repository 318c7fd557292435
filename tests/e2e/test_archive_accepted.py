"""One archive with two names and two platforms: Docker, Podman and skopeo all take it as it is."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network]
TAGS = ("registry.example/archive/first:1", "registry.example/archive/second:2")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@pytest.fixture
def archive(dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path) -> Path:
    path = tmp_path / "hello.tar"
    tags = [part for tag in TAGS for part in ("-t", tag)]
    dpbuild("build", example("hello"), *tags, "--platform", "linux/amd64,linux/arm64", "-o", path)
    return path


@pytest.mark.docker
def test_docker_loads_every_name(archive: Path) -> None:
    said = run("docker", "load", "-i", str(archive))
    try:
        assert all(f"Loaded image: {tag}\n" in said for tag in TAGS)
        assert "Hello, archive!" in run("docker", "run", "--rm", TAGS[1], "archive")
    finally:
        run("docker", "rmi", *TAGS)


@pytest.mark.podman
def test_podman_loads_it(archive: Path) -> None:
    said = run("podman", "load", "-q", "-i", str(archive))
    try:
        assert TAGS[0] in said
        assert json.loads(run("podman", "image", "inspect", TAGS[0]))[0]["Architecture"] == "amd64"
    finally:
        run("podman", "rmi", TAGS[0])


@pytest.mark.skopeo
def test_skopeo_reads_it_without_being_told_which(archive: Path) -> None:
    for machine in ("amd64", "arm64"):
        about = json.loads(run("skopeo", "inspect", "--override-arch", machine, f"oci-archive:{archive}"))
        assert about["Architecture"] == machine
    about = json.loads(run("skopeo", "inspect", f"docker-archive:{archive}"))
    assert about["Architecture"] == "amd64"
