"""Podman as a builder and as what runs images: through its own service, with no Docker to be seen."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines import podman_service, short_folder
from machinery import ComposedBase, Ran

from dpbuild.adapters.sandbox.connect import EngineSettings, connect
from dpbuild.adapters.sandbox.engine import EngineSandbox
from dpbuild.adapters.sandbox.loader import LoaderSandbox
from dpbuild.stages.bytecode import compile_sources

pytestmark = [pytest.mark.podman, pytest.mark.network, pytest.mark.slow]

NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere", "DOCKER_CONTEXT": ""}


@pytest.fixture(scope="module")
def service() -> Iterator[dict[str, str]]:
    """The environment in which Podman is found, and nothing else."""
    with short_folder() as folder, podman_service(folder) as url:
        yield {**NO_DOCKER, "CONTAINER_HOST": url}


@contextlib.contextmanager
def nothing_left(service: dict[str, str]) -> Iterator[None]:
    """The block leaves neither containers nor images."""
    import docker

    with contextlib.closing(docker.APIClient(service["CONTAINER_HOST"], version="auto")) as client:
        yield
        assert client.containers(all=True) == []
        assert client.images() == []


def test_an_image_runs(dpbuild: Callable[..., Ran], example: Callable[[str], Path], service: dict[str, str]) -> None:
    """It is found where no Docker answers, and gives the program's exit status."""
    project = example("hello")
    with (project / "hello/__main__.py").open("a") as file:
        file.write("raise SystemExit(7)\n")
    line = dpbuild("build", project).out.strip()
    with nothing_left(service):
        done = dpbuild("run", line, "--", "you", env=service, check=False)
    assert done.status == 7, done.err
    assert "Hello, you!" in done.out
    assert "running in podman" in done.err


def test_it_compiles_what_the_loader_compiles(
    composed_base: Callable[[str], ComposedBase], service: dict[str, str]
) -> None:
    base = composed_base("debian13")
    facts = base.base.facts
    stdlib = Path(base.rootfs, facts.stdlib.lstrip("/"))
    sources = [(f"/{path.relative_to(base.rootfs)}", path.read_bytes()) for path in sorted(stdlib.glob("[a-r]*.py"))]
    settings = EngineSettings(podman_host=service["CONTAINER_HOST"])
    podman = EngineSandbox(lambda: connect(settings, "podman"), "podman")
    made = [
        compile_sources(sandbox, base.rootfs, facts.interpreter, sources, "unchecked")
        for sandbox in (LoaderSandbox(), podman)
    ]
    assert len(made[0]) > 50
    assert made[0] == made[1]


@pytest.mark.bubblewrap
def test_it_builds_what_bubblewrap_builds(
    dpbuild: Callable[..., Ran], example: Callable[[str], Path], tmp_path: Path, service: dict[str, str]
) -> None:
    """An extension module, compiled twice: each time in a store that has no wheel of it."""
    made, folder = [], example("native")
    for kind in ("podman", "bubblewrap"):
        env = {**service, "DPBUILD_CACHE_DIR": str(tmp_path / f"cache-{kind}")}
        with nothing_left(service):
            done = dpbuild("build", folder, "-o", tmp_path / kind, "--builder", kind, env=env)
        assert f"builds run in {kind}" in done.err
        made.append(done.out.partition("@")[2])
    assert made[0] == made[1]
    with nothing_left(service):
        ran = dpbuild("run", "--builder", "podman", f"oci:{tmp_path}/podman", "Oslo", env=service)
        assert ran.out == "4 letters, counted on x86_64 with glibc-2.41, Python 3.13.5\n"
