"""A source that is mounted over one of the image runs, though the image has bytecode of what was there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_tools import docker

pytestmark = [pytest.mark.network, pytest.mark.docker]

SITE = "/usr/local/lib/python3.13/dist-packages"
STDLIB = "/usr/lib/python3.13"
# Says where it comes from, and whether there is bytecode for it.
LOOK = "import os, {0} as it; print(it.__file__, os.path.exists(it.__cached__), getattr(it, 'SAID', None))"


@pytest.mark.parametrize(("name", "app"), [("hello", "/app/hello/__init__.py"), ("web", f"{SITE}/web/__init__.py")])
def test_what_is_mounted_runs(
    dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path, name: str, app: str
) -> None:
    project, tag = example(name), f"mounted.example/{tmp_path.name.lower()}/{name}:1"
    dpbuild("build", project, "--load", "-t", tag)
    other = tmp_path / "other.py"
    other.write_text("SAID = 'mounted'\n")
    other.chmod(0o644)
    try:
        for module, path in ((name, app), ("colorsys", f"{STDLIB}/colorsys.py")):
            words = ("--entrypoint", "/usr/bin/python3", tag, "-c", LOOK.format(module))
            assert docker("run", "--rm", *words) == f"{path} True None"
            assert docker("run", "--rm", "-v", f"{other}:{path}:ro", *words) == f"{path} True mounted"
    finally:
        docker("rmi", tag)
