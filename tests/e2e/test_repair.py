"""psycopg2 from its sdist, with libpq and all that it needs inside the wheel: built on both suites, run by Docker."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_tools import docker
from factories.sdist import MPFR, native_files
from machinery import Ran

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.bubblewrap]

CODE = "import psycopg2; print(psycopg2.__libpq_version__, psycopg2.extensions.libpq_version())"
PROJECT = """\
[project]
name = "travelling"
version = "1"
dependencies = ["psycopg2"]
[tool.dpbuild]
base = "compose:{suite}:nonroot"
platforms = ["linux/amd64"]
app = "none"
bytecode = false
no-binary = ["psycopg2"]
entrypoint = ["-c", {code}]
[tool.dpbuild.recipes.psycopg2]
build.repair = true
run.packages = []
"""
SUITES = {"debian12": ("cp311", 36, "150"), "debian13": ("cp313", 41, "170")}


def project(folder: Path, suite: str) -> Path:
    place = folder / "project"
    place.mkdir()
    (place / "pyproject.toml").write_text(PROJECT.format(suite=suite, code=json.dumps(CODE)))
    return place


def wheel_of(done: Ran) -> tuple[str, int, str]:
    """Interpreter, glibc's minor version and machine of the wheel that was repaired."""
    found = re.search(r"repairing psycopg2 .*: psycopg2-[\d.]+-(\w+)-\w+-manylinux_2_(\d+)_(\w+)\.whl", done.err)
    assert found is not None, done.err
    return found[1], int(found[2]), found[3]


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["debian12", "debian13"])
def test_libpq_travels_inside(suite: str, dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    interpreter, newest, version = SUITES[suite]
    sbom = tmp_path / "sbom.json"
    done = dpbuild("build", project(tmp_path, suite), "--load", "--sbom", sbom)
    image = done.out.strip().removeprefix("docker-daemon:")
    try:
        said = docker("run", "--rm", "--network=none", "--read-only", image)
        assert re.fullmatch(rf"({version}\d+) \1", said), said
        checked = dpbuild("check", f"docker-daemon:{image}", "--json", "--select", "LIB,ABI")
        assert json.loads(checked.out) == []
    finally:
        docker("rmi", "-f", image)
    # The store may have it from another test.
    if "repairing" in done.err:
        found = wheel_of(done)
        assert (found[0], found[2]) == (interpreter, "x86_64")
        assert found[1] <= newest
    components = json.loads(sbom.read_bytes())["components"]
    (distribution,) = [row for row in components if row["name"] == "psycopg2"]
    inner = {row["name"]: row for row in distribution["components"] if row["type"] == "library"}
    # From the builder's packages and from the base's own.
    assert inner.keys() >= {"libpq5", "libgssapi-krb5-2", "libsasl2-2"}
    assert all(
        row["purl"].startswith(f"pkg:deb/debian/{name}@{row['version'].partition('+')[0]}")
        for name, row in inner.items()
    )
    libssl = next(row for name, row in inner.items() if name.startswith("libssl3"))
    base = next(row for row in components if row["name"] == libssl["name"])
    assert base["purl"] == libssl["purl"]
    # Debian's own libpq is not in the image.
    assert "libpq5" not in {row["name"] for row in components}


@pytest.mark.slow
def test_docker_and_bubblewrap_give_the_same_image(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    """Each in a store of its own, so that everything is built and repaired twice."""
    folder = project(tmp_path, "debian13")
    made = []
    for kind in ("bubblewrap", "docker"):
        env = {"DPBUILD_CACHE_DIR": str(tmp_path / f"cache-{kind}")}
        done = dpbuild("build", folder, "-o", tmp_path / kind, "--builder", kind, env=env)
        assert f"builds run in {kind}" in done.err
        made.append((wheel_of(done), done.out.partition("@")[2]))
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.qemu
def test_two_machines_in_one_command(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    """An app: for arm64 it is compiled and repaired by arm64's own programs, under qemu."""
    folder = tmp_path / "project"
    for name, content in native_files("precise", project=False, **MPFR).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
    with (folder / "pyproject.toml").open("a") as file:
        file.write(
            '[project]\nname = "precise"\nversion = "1.0"\n[tool.dpbuild]\nbase = "compose:debian13:nonroot"\n'
            'bytecode = false\nentrypoint = ["-c", "import precise; print(precise.answer())"]\n'
            "[tool.dpbuild.builder]\nrepair = true\n"
        )
    output = tmp_path / "image"
    done = dpbuild("build", folder, "-o", output, "--platform", "linux/amd64,linux/arm64")
    tags = re.findall(r"repairing the app's wheel: precise-1\.0-cp313-cp313-manylinux_2_\d+_(\w+)\.whl", done.err)
    assert tags == ["x86_64", "aarch64"]
    for platform in ("linux/amd64", "linux/arm64"):
        ran = dpbuild("run", "--platform", platform, "--builder", "bubblewrap", f"oci:{output}")
        assert ran.out == "4\n"
