"""An app with a Rust extension, by maturin: compiler and crates are Debian's packages, so nothing is fetched while it is built."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_tools import docker
from machinery import Ran

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.bubblewrap, pytest.mark.slow]

FILES = {
    "Cargo.toml": (
        '[package]\nname = "rusty"\nversion = "0.1.0"\nedition = "2021"\n\n'
        '[lib]\nname = "rusty"\ncrate-type = ["cdylib"]\n\n'
        '[dependencies]\npyo3 = { version = "0", features = ["extension-module"] }\n'
    ),
    ".cargo/config.toml": (
        '[source.crates-io]\nreplace-with = "debian"\n\n[source.debian]\ndirectory = "/usr/share/cargo/registry"\n'
    ),
}
# pyo3 0.17 and 0.22.
MODULES = {"debian12": "_py: Python<'_>, module: &PyModule", "debian13": "module: &Bound<'_, PyModule>"}
SOURCE = """\
use pyo3::prelude::*;

#[pyfunction]
fn answer() -> u32 {{
    42
}}

#[pymodule]
fn rusty({arguments}) -> PyResult<()> {{
    module.add_function(wrap_pyfunction!(answer, module)?)
}}
"""


def project(folder: Path, suite: str) -> Path:
    files = {**FILES, "src/lib.rs": SOURCE.format(arguments=MODULES[suite])}
    files["pyproject.toml"] = (
        '[project]\nname = "rusty"\nversion = "0.1.0"\n\n'
        '[build-system]\nrequires = ["maturin>=1"]\nbuild-backend = "maturin"\n\n'
        f'[tool.dpbuild]\nbase = "compose:{suite}:nonroot"\nplatforms = ["linux/amd64"]\nbytecode = false\n'
        'entrypoint = ["-c", "import rusty; print(rusty.answer())"]\n\n'
        '[tool.dpbuild.builder]\npackages = ["cargo", "librust-pyo3-dev", "rustc"]\n'
    )
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("suite", MODULES)
def test_crates_of_debian(suite: str, dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    folder = project(tmp_path / "rusty", suite)
    done = dpbuild("build", folder, "--builder", "bubblewrap", "--load")
    assert re.search(r"app's wheel: rusty-0\.1\.0-cp3\d+-cp3\d+-manylinux_2_\d+_x86_64\.whl", done.err), done.err
    image = done.out.strip().removeprefix("docker-daemon:")
    try:
        assert docker("run", "--rm", "--network=none", image) == "42"
    finally:
        docker("rmi", "-f", image)
    assert not (folder / "target").exists()


def test_docker_and_bubblewrap_give_the_same_image(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    made = []
    for kind in ("bubblewrap", "docker"):
        folder = project(tmp_path / kind / "rusty", "debian13")
        for name in ("pylock.dpbuild.toml", "pylock.dpbuild-build.toml"):
            if made:
                (folder / name).write_bytes((tmp_path / "bubblewrap/rusty" / name).read_bytes())
        words = ("build", folder, "--builder", kind, "-o", tmp_path / f"{kind}-image")
        done = dpbuild(*words, env={"DPBUILD_CACHE_DIR": str(tmp_path / f"store-{kind}"), "SOURCE_DATE_EPOCH": "0"})
        made.append(done.out.strip().rpartition("@")[2])
    assert made[0] == made[1]
