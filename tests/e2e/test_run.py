"""``dpbuild run``: the same program, the same output and the same status, whatever runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network]

WAYS = {
    "docker": "running in docker",
    "bubblewrap": "running in bubblewrap",
    "none": "the base's own loader, without isolation",
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, need: Callable[..., None]) -> str:
    if request.param != "none":
        need(request.param)
    return str(request.param)


@pytest.fixture
def image(dpbuild: Callable, example: Callable[[str], Path]) -> str:
    project = example("hello")
    (project / "hello/__main__.py").write_text(
        "import os, sys\n"
        "print(sys.argv[1:], os.environ['SSL_CERT_FILE'], sys.stdin.read())\n"
        "print('to stderr', file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    return str(dpbuild("build", project).out.strip())


def test_output_arguments_and_status(dpbuild: Callable, image: str, way: str) -> None:
    done = dpbuild("run", "--builder", way, image, "--", "-x", "two words", check=False)
    assert done.status == 7
    assert done.out.startswith("['-x', 'two words'] /")
    # The loader works on the extracted files, so paths in the image are shown as they are outside.
    assert done.out.endswith("/etc/ssl/certs/ca-certificates.crt \n")
    assert "to stderr\n" in done.err
    assert WAYS[way] in done.err


def test_unknown_images_are_one_error(dpbuild: Callable, tmp_path: Path) -> None:
    done = dpbuild("run", f"oci:{tmp_path}/nothing", check=False)
    assert done.status == 92
    assert done.out == ""
    assert done.err.startswith("error: ")


@pytest.mark.docker
def test_nothing_is_left_in_the_engine(dpbuild: Callable, image: str) -> None:
    import docker

    client = docker.from_env()
    before = {row.id for row in client.images.list(all=True)}, {row.id for row in client.containers.list(all=True)}
    dpbuild("run", "--builder", "docker", image, check=False)
    after = {row.id for row in client.images.list(all=True)}, {row.id for row in client.containers.list(all=True)}
    client.close()
    assert after == before
