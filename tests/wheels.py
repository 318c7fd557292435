"""Real wheels from the configured index, laid into images as a COPY of another Python's packages would."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.image import File, Files

Unpack = Callable[..., Files]


@pytest.fixture(scope="session")
def unpack(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """``unpack(site, "numpy==1.26.4", python="3.12", platform="manylinux2014_x86_64")``: the wheel's files below a
    folder, without scripts and what it depends on.
    """
    need("network")
    folder = tmp_path_factory.mktemp("wheels")

    def get(site: str, requirement: str, *, python: str = "3.13", platform: str = "") -> Files:
        place = folder / f"{requirement}-{python}-{platform}".replace("/", "_")
        if not place.exists():
            _download(place, requirement, python, platform)
        (wheel,) = place.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            rows = [row for row in archive.infolist() if not row.is_dir() and ".data/" not in row.filename]
            return {f"{site}/{row.filename}": File(archive.read(row)) for row in rows}

    return get


def _download(place: Path, requirement: str, python: str, platform: str) -> None:
    chosen = ["--platform", platform] if platform else []
    if python.endswith("t"):
        chosen += ["--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(place)]
    done = subprocess.run(
        [*command, "--python-version", python.rstrip("t"), *chosen, requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{requirement} cannot be had: {done.stderr}")
