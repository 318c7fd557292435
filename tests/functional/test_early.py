"""What cannot be written is found out before a base is asked for and before anything is locked."""

import pytest
from bench import Bench

# No base can be had: whoever asks for one sees another error.
NOWHERE = {
    "DPBUILD_DEBIAN_MIRROR": "http://127.0.0.1:9/debian",
    "DPBUILD_DEBIAN_SECURITY_MIRROR": "http://127.0.0.1:9/s",
}


def fails(bench: Bench, code: int, message: str, *arguments: object, env: dict[str, str] | None = None) -> str:
    before = {path.name for path in bench.project.iterdir()}
    done = bench.run("build", bench.project, *arguments, env={**NOWHERE, **(env or {})})
    return bench.left(done, code, message, before)


def test_without_an_output_the_base_is_what_fails(bare: Bench) -> None:
    said = fails(bare, 20, "cannot read from the mirror")
    assert "DPBUILD_DEBIAN_MIRROR" in said


def test_a_folder_that_is_not_ours(bare: Bench) -> None:
    (bare.tmp / "full").mkdir()
    (bare.tmp / "full" / "precious").write_text("keep")
    fails(bare, 80, "neither empty nor an OCI layout", "-o", bare.tmp / "full")
    fails(bare, 80, "neither empty nor an OCI layout", "-o", bare.tmp / "fresh", "-o", bare.tmp / "full")
    assert not (bare.tmp / "fresh").exists()


def test_what_cannot_be_written(bare: Bench) -> None:
    fails(bare, 80, "cannot write the output", "-o", "/proc/self/fdinfo/a/b")
    fails(bare, 80, "cannot write the output", "-o", "/proc/self/fdinfo/image.tar")
    (bare.tmp / "file").write_text("")
    fails(bare, 80, "is no folder", "-o", bare.tmp / "file")
    fails(bare, 80, "cannot write the output", "-o", bare.tmp / "file" / "below" / "image.tar")
    (bare.tmp / "image.tar").mkdir()
    fails(bare, 80, "is a folder", "-o", bare.tmp / "image.tar")


def test_the_default_output_in_a_project_that_has_a_file_there(bare: Bench) -> None:
    (bare.project / ".dpbuild").write_text("a file")
    fails(bare, 80, "cannot write the output")


def test_the_metadata_file(bare: Bench) -> None:
    fails(bare, 80, "no folder for --metadata-file", "--metadata-file", bare.tmp / "below" / "metadata.json")
    fails(bare, 80, "cannot write --metadata-file", "--metadata-file", "/proc/self/fdinfo/metadata.json")


def test_a_registry_that_does_not_answer(bare: Bench) -> None:
    fails(bare, 90, "127.0.0.1:9", "-t", "127.0.0.1:9/app:1", "--push")


@pytest.mark.registry
def test_a_registry_that_refuses_us(bare: Bench, locked_registry: str) -> None:
    env = {"DOCKER_CONFIG": str(bare.tmp / "nobody"), "REGISTRY_AUTH_FILE": str(bare.tmp / "none.json")}
    fails(bare, 91, "unauthorized|credentials|login", "-t", f"{locked_registry}/app:1", "--push", env=env)


def test_an_engine_that_is_not_there(bare: Bench) -> None:
    env = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "CONTAINER_HOST": "", "XDG_RUNTIME_DIR": str(bare.tmp)}
    fails(bare, 100, "", "--load", env=env)
