"""The app with C code: the same example by every backend, on both suites, run by Docker; the same bytes wherever built."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_tools import docker
from machinery import Ran

pytestmark = [pytest.mark.network, pytest.mark.docker]

SUITES = {"debian12": ("2.36", "3.11.2"), "debian13": ("2.41", "3.13.5")}
BACKENDS = {
    "meson-python": (
        'requires = ["meson-python"]\nbuild-backend = "mesonpy"\n',
        {
            "meson.build": "project('native', 'c', version: '1.0.0')\npy = import('python').find_installation(pure: false)\n"
            "py.install_sources(['src/native/__init__.py', 'src/native/main.py'], subdir: 'native')\n"
            "py.extension_module('_count', 'src/native/_count.c', install: true, subdir: 'native')\n"
        },
    ),
    "scikit-build-core": (
        'requires = ["scikit-build-core", "cmake", "ninja"]\nbuild-backend = "scikit_build_core.build"\n',
        {
            "CMakeLists.txt": "cmake_minimum_required(VERSION 3.26)\nproject(native LANGUAGES C)\n"
            "find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)\n"
            "python_add_library(_count MODULE src/native/_count.c WITH_SOABI)\n"
            "install(TARGETS _count DESTINATION native)\n"
        },
    ),
}


def said(reference: str, suite: str) -> None:
    libc, python = SUITES[suite]
    image = reference.strip().removeprefix("docker-daemon:")
    try:
        text = docker("run", "--rm", "--network=none", image, "Zoë", "und", "24")
        assert text == f"6 letters, counted on x86_64 with glibc-{libc}, Python {python}"
    finally:
        docker("rmi", "-f", image)


@pytest.mark.parametrize("suite", [pytest.param("debian12", marks=pytest.mark.slow), "debian13"])
def test_an_extension_module_by_setuptools(
    suite: str, dpbuild: Callable[..., Ran], example: Callable[[str], Path]
) -> None:
    folder = example("native")
    done = dpbuild("build", folder, "--base", f"compose:{suite}:nonroot", "--load")
    minor = SUITES[suite][1].rsplit(".", 1)[0].replace(".", "")
    assert re.search(rf"app's wheel: native-1\.0\.0-cp{minor}-cp{minor}-manylinux_2_17_x86_64\.whl", done.err), done.err
    said(done.out, suite)
    assert not list(folder.rglob("*.so"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.slow
def test_an_extension_module_by_other_backends(
    backend: str, dpbuild: Callable[..., Ran], example: Callable[[str], Path]
) -> None:
    folder = example("native")
    system, files = BACKENDS[backend]
    text = (folder / "pyproject.toml").read_text()
    text = re.sub(r"\[build-system\]\n.*\n.*\n", f"[build-system]\n{system}", text)
    text = re.sub(r"\[tool\.setuptools\]\n(?:.+\n)+", "", text)
    (folder / "pyproject.toml").write_text(text)
    for name, content in files.items():
        (folder / name).write_text(content)
    said(dpbuild("build", folder, "--load").out, "debian13")


@pytest.mark.slow
def test_docker_and_bubblewrap_give_the_same_image(
    dpbuild: Callable[..., Ran], example: Callable[[str], Path], need: Callable[..., None], tmp_path: Path
) -> None:
    """Each in a store of its own, in folders of different names, so that everything is compiled twice."""
    need("bubblewrap")
    folder = example("native")
    made = []
    for kind in ("bubblewrap", "docker"):
        output = tmp_path / kind
        env = {"DPBUILD_CACHE_DIR": str(tmp_path / f"cache-{kind}")}
        done = dpbuild("build", folder, "-o", output, "--builder", kind, env=env)
        assert f"builds run in {kind}" in done.err
        made.append(done.out.partition("@")[2])
        folder = folder.rename(tmp_path / "elsewhere")
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.qemu
def test_two_machines_in_one_command(
    dpbuild: Callable[..., Ran], example: Callable[[str], Path], need: Callable[..., None], tmp_path: Path
) -> None:
    """The extension module is compiled for arm64 by arm64's own gcc, under qemu."""
    need("bubblewrap")
    output = tmp_path / "image"
    done = dpbuild("build", example("native"), "-o", output, "--platform", "linux/amd64,linux/arm64")
    tags = re.findall(r"native-1\.0\.0-cp313-cp313-manylinux_2_17_(\w+)\.whl", done.err)
    assert tags == ["x86_64", "aarch64"]
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        ran = dpbuild("run", "--platform", platform, "--builder", "bubblewrap", f"oci:{output}", "Oslo")
        assert ran.out == f"4 letters, counted on {machine} with glibc-2.41, Python 3.13.5\n"
