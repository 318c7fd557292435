"""Whoever runs the image has a home to write to, and a name."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.network]
CODE = """
import getpass, json, os, pathlib, sys, tempfile
home = pathlib.Path.home()
(home / ".cache").mkdir(exist_ok=True)
(home / ".cache" / "file").write_text("x")
print(json.dumps([str(home), os.path.expanduser("~/x"), getpass.getuser(), tempfile.gettempdir(), os.getuid()]))
"""


@pytest.fixture(scope="module", params=["nonroot", "latest"])
def image(
    request: pytest.FixtureRequest, dpbuild: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Its name, and where its user's home is."""
    project = tmp_path_factory.mktemp("home") / "project"
    project.mkdir()
    (project / "main.py").write_text(CODE)
    name = f"registry.example/home:{request.param}"
    words = ("--base", f"compose:debian13:{request.param}", "--platform", "linux/amd64", "-t", name, "--load")
    dpbuild("build", project, *words)
    try:
        yield name, "/home/nonroot" if request.param == "nonroot" else "/root"
    finally:
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=True)


def ran(name: str, *options: str) -> list[object]:
    done = subprocess.run(["docker", "run", "--rm", *options, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("user", ["", "0", "65532", "12345", "12345:0", "65534:65534"])
def test_everybody_can_write_at_home(image: tuple[str, str], user: str) -> None:
    name, home = image
    found = ran(name, *(("--user", user) if user else ()))
    assert found[:2] == [home, f"{home}/x"]
    assert found[2] == ("nonroot" if home == "/home/nonroot" else "root")
    assert found[3] == "/tmp"
    if user:
        assert found[4] == int(user.partition(":")[0])


def test_what_the_caller_says_wins(image: tuple[str, str]) -> None:
    name, _ = image
    options = ("--user", "12345", "--read-only", "--tmpfs", "/tmp", "-e", "HOME=/tmp", "-e", "USER=me")
    assert ran(name, *options)[:3] == ["/tmp", "/tmp/x", "me"]


def test_a_user_of_the_configuration(dpbuild: Callable, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(CODE)
    (tmp_path / "dpbuild.toml").write_text('user = "1000:1000"\nbase = "compose:debian13:nonroot"\n')
    name = "registry.example/home:configured"
    dpbuild("build", tmp_path, "--platform", "linux/amd64", "-t", name, "--load")
    try:
        assert ran(name) == ["/tmp", "/tmp/x", "app", "/tmp", 1000]
    finally:
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=True)
