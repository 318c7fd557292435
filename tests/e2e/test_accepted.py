"""What others make of our images: skopeo, umoci, podman and Docker take them, and find in them what we put there."""

import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network]


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@pytest.fixture
def layout(dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path) -> Path:
    path = tmp_path / "image"
    dpbuild("build", example("web"), "-t", "registry.example/web:1", "-o", path)
    return path


@pytest.mark.skopeo
def test_skopeo_reads_the_layout(layout: Path) -> None:
    about = json.loads(run("skopeo", "inspect", f"oci:{layout}:1"))
    assert (about["Architecture"], about["Os"]) == ("amd64", "linux")
    config = json.loads(run("skopeo", "inspect", "--config", f"oci:{layout}:1"))["config"]
    assert config["User"] == "65532"
    assert config["Entrypoint"] == ["/usr/bin/python3.13", "/usr/local/bin/web"]
    assert "PYTHONNOUSERSITE=1" in config["Env"]
    assert "PYTHONSAFEPATH=1" in config["Env"]
    assert "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" in config["Env"]


@pytest.mark.umoci
def test_umoci_unpacks_it_and_the_bases_folders_are_untouched(layout: Path, tmp_path: Path) -> None:
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:1", str(tmp_path / "bundle"))
    rootfs = tmp_path / "bundle" / "rootfs"
    assert (rootfs / "usr/local/bin/web").read_bytes().startswith(b"#!/usr/bin/python3.13\n")
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(layout, index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(layout, manifest["config"]["digest"]).read_text())
    first = {}
    ours = 0
    for layer, history in zip(manifest["layers"], config["history"], strict=True):
        mine = history.get("created_by") == "dpbuild"
        with tarfile.open(fileobj=gzip.open(blob(layout, layer["digest"]))) as tar:
            for member in tar:
                if not member.isdir():
                    continue
                name = member.name.removeprefix("./").strip("/")
                # The home of the image's user is the one folder of the base that is changed: everybody may write there.
                mode = member.mode if not (mine and name == "home/nonroot") else member.mode & 0o700
                facts = (mode, member.uid, member.gid, member.mtime, member.uname, member.gname)
                if mine and name in first:
                    ours += 1
                    assert facts == first[name], name
                    assert (rootfs / name).stat().st_mode & 0o7777 == member.mode
                elif not mine:
                    first[name] = facts
    assert ours >= 3  # usr at least, in every layer of ours


def test_layers_of_every_kind_read_the_same_everywhere(layout: Path) -> None:
    """Base, standard library's bytecode, wheels, app: gzip, pigz, igzip and busybox give the diffID's bytes."""
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(layout, index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(layout, manifest["config"]["digest"]).read_text())
    commands = [["gzip", "-dc"], ["pigz", "-dc"], ["igzip", "-dc"], ["busybox", "gunzip", "-c"]]
    found = [command for command in commands if shutil.which(command[0])]
    assert found
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = blob(layout, layer["digest"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == layer["digest"][7:]
        for command in found:
            done = subprocess.run(command, input=data, capture_output=True, check=True)
            assert f"sha256:{hashlib.sha256(done.stdout).hexdigest()}" == diff_id, command


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


@pytest.mark.registry
@pytest.mark.podman
def test_podman_pulls_it(dpbuild: Callable, registry: str, example: Callable[[str], Path]) -> None:
    line = dpbuild("build", example("hello"), "-t", f"{registry}/accepted/hello:1", "--push").out.strip()
    run("podman", "pull", "-q", "--tls-verify=false", line)
    about = json.loads(run("podman", "image", "inspect", line))[0]
    assert about["Digest"] == line.rpartition("@")[2]
    run("podman", "rmi", line)


@pytest.mark.docker
def test_every_engine_takes_the_archive(dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "hello.tar"
    line = dpbuild("build", example("hello"), "-t", "registry.example/archive/hello:1", "-o", path).out.strip()
    assert line.startswith(f"oci-archive:{path}@sha256:")
    assert "registry.example/archive/hello:1" in run("docker", "load", "-i", str(path))
    assert "Hello, archive!" in run("docker", "run", "--rm", "registry.example/archive/hello:1", "archive")
    run("docker", "rmi", "registry.example/archive/hello:1")


@pytest.mark.docker
def test_load_prints_what_the_engine_knows(dpbuild: Callable, example: Callable[[str], Path]) -> None:
    line = dpbuild("build", example("hello"), "--load").out.strip()
    assert line.startswith("docker-daemon:sha256:")
    assert "Hello, loaded!" in run("docker", "run", "--rm", line.removeprefix("docker-daemon:"), "loaded")


@pytest.mark.registry
@pytest.mark.skopeo
@pytest.mark.umoci
@pytest.mark.docker
@pytest.mark.slow
def test_a_base_that_dpbuild_did_not_make(
    dpbuild: Callable, registry: str, example: Callable[[str], Path], tmp_path: Path
) -> None:
    """A Python in one layer, packed by umoci and pushed by skopeo with Docker's media types."""
    source = tmp_path / "source"
    dpbuild("build", example("hello"), "--base", "compose:debian12:latest", "-t", "registry.example/x:1", "-o", source)
    run("umoci", "unpack", "--rootless", "--image", f"{source}:1", str(tmp_path / "old"))
    other = str(tmp_path / "other")
    run("umoci", "init", "--layout", other)
    run("umoci", "new", "--image", f"{other}:py")
    run("umoci", "unpack", "--rootless", "--image", f"{other}:py", str(tmp_path / "new"))
    run("cp", "-a", f"{tmp_path}/old/rootfs/.", f"{tmp_path}/new/rootfs/")
    run("umoci", "repack", "--image", f"{other}:py", str(tmp_path / "new"))
    run("umoci", "config", "--image", f"{other}:py", "--config.cmd", "python3", "--config.env", "PATH=/usr/bin:/bin")
    base = f"{registry}/foreign/python:1"
    run("skopeo", "copy", "-q", "--format", "v2s2", "--dest-tls-verify=false", f"oci:{other}:py", f"docker://{base}")
    project = example("web")
    (project / "src/web/__main__.py").write_text("import web.main\nprint(web.main.square(7))\n")
    target = f"{registry}/foreign/web:1"
    line = dpbuild("build", project, "--base", base, "-t", target, "--push").out.strip()
    run("docker", "pull", "-q", line)
    assert run("docker", "run", "--rm", "--entrypoint", "python3", line, "-m", "web").strip() == "{'square': 49}"


@pytest.fixture(scope="module")
def zstd(dpbuild: Callable, registry: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An image with zstd layers in a registry, by digest, and in a layout."""
    folder = tmp_path_factory.mktemp("zstd")
    left = shutil.ignore_patterns(".dpbuild", "pylock.dpbuild*", "__pycache__")
    project = Path(shutil.copytree(root / "examples/hello", folder / "hello", ignore=left))
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace("[tool.dpbuild]\n", '[tool.dpbuild]\ncompression = "zstd"\n'))
    line = dpbuild("build", project, "-t", f"{registry}/accepted/zstd:1", "--push", "-o", folder / "image").out.strip()
    return line, folder / "image"


@pytest.mark.registry
@pytest.mark.skopeo
def test_skopeo_copies_zstd(zstd: tuple[str, Path], tmp_path: Path) -> None:
    line, layout = zstd
    run("skopeo", "copy", "--quiet", "--insecure-policy", f"oci:{layout}:1", f"oci:{tmp_path}/copy:1")
    assert json.loads((tmp_path / "copy/index.json").read_text())["manifests"][0]["digest"] == line.rpartition("@")[2]


@pytest.mark.registry
@pytest.mark.docker
def test_docker_pulls_zstd_from_version_23_on(zstd: tuple[str, Path]) -> None:
    line, _ = zstd
    version = run("docker", "version", "-f", "{{.Server.Version}}").strip()
    if int(version.partition(".")[0]) < 23:
        pytest.skip(f"Docker {version} does not know zstd")
    run("docker", "pull", "-q", line)
    assert "Hello, zstd!" in run("docker", "run", "--rm", line, "zstd")
    run("docker", "rmi", line)


@pytest.mark.docker
@pytest.mark.registry
def test_every_engine_runs_zstd_for_us(zstd: tuple[str, Path], dpbuild: Callable) -> None:
    _, layout = zstd
    assert "Hello, zstd!" in dpbuild("run", "--builder", "docker", f"oci:{layout}", "--", "zstd").out


@pytest.mark.registry
@pytest.mark.podman
def test_podman_pulls_zstd(zstd: tuple[str, Path]) -> None:
    line, _ = zstd
    run("podman", "pull", "-q", "--tls-verify=false", line)
    run("podman", "rmi", line)


@pytest.mark.registry
def test_zstd_is_run_without_an_engine(zstd: tuple[str, Path], dpbuild: Callable) -> None:
    _, layout = zstd
    assert "Hello, zstd!" in dpbuild("run", "--builder", "none", f"oci:{layout}", "--", "zstd").out
