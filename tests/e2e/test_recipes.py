"""Recipes that wheels from the index need to run: built on both suites, and their smoke tests run by Docker."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_tools import docker

from dpbuild.stages import recipes

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.slow]

MORE = {"opencv-python": ("numpy",), "sounddevice": ("numpy",)}


@pytest.mark.parametrize("suite", ["debian12", "debian13"])
@pytest.mark.parametrize(
    "name",
    [
        *("cairocffi", "opencv-python", "pdf2image", "psycopg", "pyodbc"),
        *("pytesseract", "python-magic", "pyzbar", "sounddevice", "weasyprint"),
    ],
)
def test_the_smoke_test_succeeds(dpbuild: Callable, tmp_path: Path, name: str, suite: str) -> None:
    recipe = recipes.shipped(name)
    assert recipe is not None
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "smoke"\nversion = "1"\ndependencies = {json.dumps([name, *MORE.get(name, ())])}\n'
        f'[tool.dpbuild]\nbase = "compose:{suite}:nonroot"\nplatforms = ["linux/amd64"]\napp = "none"\n'
        f'bytecode = false\nentrypoint = ["-c", {json.dumps(recipe.smoke)}]\n'
    )
    image = dpbuild("build", tmp_path, "--load").out.strip()
    docker("run", "--rm", "--read-only", "--tmpfs", "/tmp", image.removeprefix("docker-daemon:"))
