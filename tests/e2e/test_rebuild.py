"""``dpbuild rebuild``: a stranger with the image and the project gets the same digest, or the reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from factories.image import make_image

pytestmark = [pytest.mark.network]


SLOW = [pytest.param(row, marks=pytest.mark.slow) for row in ("web", "data", "native", "postgres", "document")]


@pytest.mark.parametrize("name", ["hello", *SLOW])
def test_the_same_digest_on_an_empty_store(
    dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    project = example(name)
    image = dpbuild("build", project, "-o", tmp_path / "image").out.strip()
    for path in project.glob("pylock.dpbuild*.toml"):
        path.unlink()
    before = sorted(path.name for path in project.iterdir())
    empty = {"DPBUILD_CACHE_DIR": str(tmp_path / "empty")}
    done = dpbuild("rebuild", image, project, env=empty)
    assert done.out == f"the same: {image.partition('@')[2]}\n"
    assert sorted(path.name for path in project.iterdir()) == before


def test_what_is_configured_by_now_does_not_count(
    dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path
) -> None:
    project = example("hello")
    image = dpbuild("build", project, "-o", tmp_path / "image", env={"SOURCE_DATE_EPOCH": "1700000000"}).out.strip()
    path = project / "pyproject.toml"
    text = path.read_text()
    path.write_text(text.replace("[tool.dpbuild]\n", '[tool.dpbuild]\nlabels = {later = "yes"}\n'))
    # The file itself is copied with the app, so it is the one thing that differs.
    done = dpbuild("rebuild", image, project, "-o", tmp_path / "again", check=False)
    assert done.status == 81
    assert done.out.startswith("because the file pyproject.toml has other content\nlinux/")
    assert "later" not in done.out
    assert "Labels" not in done.out
    assert "pyproject.toml (content: " in done.out
    assert (tmp_path / "again" / "index.json").exists()
    path.write_text("[tool.dpbuild\n")
    assert dpbuild("rebuild", image, project, check=False).status == 10


@pytest.mark.registry
def test_a_changed_file_is_named(
    dpbuild: Callable, example: Callable[[str], Path], registry: str, tmp_path: Path
) -> None:
    project = example("hello")
    tag = f"{registry}/rebuild/hello:1"
    image = dpbuild("build", project, "--push", "-t", tag).out.strip()
    assert dpbuild("rebuild", tag, project).out == f"the same: {image.partition('@')[2]}\n"
    (project / "hello" / "__main__.py").write_text("print('changed')\n")
    (project / "hello" / "new.py").write_text("")
    done = dpbuild("rebuild", image, project, check=False)
    assert done.status == 81
    lines = done.out.splitlines()
    assert lines[:2] == ["because the file hello/__main__.py has other content", "because the file hello/new.py is new"]
    assert any(line.startswith("  ~ /app/hello/__main__.py (content: ") for line in lines)
    assert "  + /app/hello/new.py" in lines
    assert "error: rebuilding gave sha256:" in done.err


def test_an_image_that_tells_nothing(dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path) -> None:
    make_image(tmp_path / "image", {"x": "y"})
    project = example("hello")
    done = dpbuild("rebuild", f"oci:{tmp_path}/image", project, check=False)
    assert done.status == 20
    assert "error: the image carries no provenance" in done.err
    bare = dpbuild("build", project, "-o", tmp_path / "bare", "--no-evidence").out.strip()
    assert dpbuild("rebuild", bare, project, check=False).status == 20
