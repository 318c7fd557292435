"""What is installed is what is in the tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel built from a copy of the tree."""
    import shutil

    import uv

    folder = tmp_path_factory.mktemp("packaging")
    names = ("pyproject.toml", "README.md", "LICENSE", "builder", "recipes")
    for name in names:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            (folder / "tree").mkdir(exist_ok=True)
            shutil.copy(source, folder / "tree" / name)
    subprocess.run(
        [
            uv.find_uv_bin(),
            "build",
            "-q",
            "--wheel",
            "--python",
            sys.executable,
            "-o",
            str(folder),
            str(folder / "tree"),
        ],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.mark.network
def test_the_wheel_has_every_file_of_the_package(root: Path, wheel: set[str]) -> None:
    tree = {
        f"dpbuild/{path.relative_to(root / 'builder/dpbuild')}"
        for path in (root / "builder/dpbuild").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not any(part.startswith(".") for part in path.parts)
    }
    assert tree - wheel == set()


@pytest.mark.network
def test_the_wheel_carries_the_recipes(root: Path, wheel: set[str]) -> None:
    recipes = {f"dpbuild/recipes/{path.name}" for path in (root / "recipes").iterdir() if path.is_file()}
    assert "dpbuild/recipes/README.md" in recipes
    assert recipes <= wheel


def test_this_installation_carries_the_recipes() -> None:
    from importlib.resources import files

    assert files("dpbuild.recipes").joinpath("README.md").is_file()
