"""Locking by pip-tools in the builder: the same lock as by uv."""

from collections.abc import Callable
from pathlib import Path

import pytest
from machinery import Ran

pytestmark = [pytest.mark.network, pytest.mark.bubblewrap]

PROJECT = """\
[project]
name = "mixed"
version = "1"
dependencies = ["httpx[http2]<1", "docopt", "tomli; python_version < '3.11'"]
[tool.dpbuild]
base = "compose:debian13"
platforms = ["linux/amd64"]
app = "none"
"""


def test_the_lock_is_that_of_uv(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    """Docopt has only an sdist, whose setup.py says what it requires."""
    texts = []
    for resolver in ("pip-tools", "uv"):
        folder = tmp_path / resolver
        folder.mkdir()
        (folder / "pyproject.toml").write_text(PROJECT)
        dpbuild("lock", folder, "--resolver", resolver, "--builder", "bubblewrap")
        texts.append((folder / "pylock.dpbuild.toml").read_text())
        build = (folder / "pylock.dpbuild-build.toml").read_text()
        assert ('name = "pip-tools"' in build) == (resolver == "pip-tools")
        assert 'name = "sdist-docopt-0-6-2"' in build
    assert texts[0] == texts[1]
    assert 'name = "h2"' in texts[0]


def test_no_solution(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace('"docopt"', '"docopt>99"'))
    done = dpbuild("lock", tmp_path, "--resolver", "pip-tools", "--builder", "bubblewrap", check=False)
    assert done.status == 41, done.err
    assert "docopt>99" in done.err
    assert not (tmp_path / "pylock.dpbuild.toml").exists()
