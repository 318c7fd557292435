"""Every way in with every way out: one base in all the forms that it can have, the same image in every place."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_tools import image_row

pytestmark = [pytest.mark.network, pytest.mark.registry, pytest.mark.docker, pytest.mark.skopeo]

LOCK = "pylock.dpbuild.toml"
SAID = "Hello, pair! This is Python 3.13.5 on x86_64, user 65532."


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# ways in


@dataclass(frozen=True)
class Expected:
    """What hello on the composed base is: the image's manifest, its config's digest, and the lock that led to it."""

    manifest: bytes
    config: str
    lock: str

    @property
    def base(self) -> str:
        """The digest of the base's manifest."""
        return str(json.loads(self.manifest)["annotations"]["org.opencontainers.image.base.digest"])

    def digest(self, form: str, reference: str) -> str | None:
        """The digest of the image's manifest on the same base in another form; None where it cannot be the same."""
        if form == "docker-archive":
            # Such an archive has neither the base's manifest nor its compressed layers.
            return None
        value = json.loads(self.manifest)
        if form.startswith("registry"):
            # Bases of registries are named (OCI image spec, annotations.md).
            name = reference.partition("@")[0]
            rows = {**value["annotations"], "org.opencontainers.image.base.name": name}
            value["annotations"] = dict(sorted(rows.items()))
        return sha256(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())


@pytest.fixture(scope="module")
def expected(
    dpbuild: Callable, root: Path, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Expected]:
    folder = tmp_path_factory.mktemp("expected")
    run("cp", "-r", root / "examples/hello/hello", root / "examples/hello/pyproject.toml", folder)
    name = f"pairs.example/{registry.rpartition(':')[2]}/kept:1"
    # The engine keeps its layers until the end, which makes loading the others quick.
    dpbuild("build", folder, "-o", folder / "image", "--load", "-t", name)
    yield Expected(*in_layout(folder / "image"), (folder / LOCK).read_text())
    run("docker", "rmi", name)


def write_layout(digest: str, blobs: Path, path: Path) -> Path:
    """The base as an OCI layout, byte by byte as it is in the store."""
    folder = path / "blobs/sha256"
    folder.mkdir(parents=True)
    data = (blobs / digest[7:]).read_bytes()
    manifest = json.loads(data)
    # Two of its layers are the same blob.
    for name in {digest, *(row["digest"] for row in (manifest["config"], *manifest["layers"]))}:
        (folder / name[7:]).hardlink_to(blobs / name[7:])
    row = {"mediaType": manifest["mediaType"], "digest": digest, "size": len(data)}
    row["annotations"] = {"org.opencontainers.image.ref.name": "base"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


@pytest.fixture(scope="module")
def bases(
    expected: Expected, shared_cache: Path, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """One base by the name of its form; others than dpbuild have put it there."""
    folder = tmp_path_factory.mktemp("bases")
    layout = write_layout(expected.base, shared_cache / "blobs/sha256", folder / "layout")
    name = f"{registry}/pairs/{folder.name.replace('_', '-')}/base"
    run("skopeo", "copy", "-q", f"oci:{layout}:base", f"oci-archive:{folder}/oci.tar:base")
    run("skopeo", "copy", "-q", f"oci:{layout}:base", f"docker-archive:{folder}/docker.tar:base.example/base:1")
    run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:base", f"docker://{name}:1")
    return {
        "compose": "compose:debian13:nonroot",
        "oci": f"oci:{layout}:base",
        "oci-archive": f"oci-archive:{folder}/oci.tar",
        "docker-archive": f"docker-archive:{folder}/docker.tar",
        "registry": f"{name}:1",
        "registry by digest": f"{name}@{expected.base}",
    }


INPUTS = ("compose", "oci", "oci-archive", "docker-archive", "registry", "registry by digest")


# ways out


def in_layout(path: Path) -> tuple[bytes, str]:
    """The manifest, and the config's digest."""
    row = image_row((path / "index.json").read_text())
    data = (path / "blobs/sha256" / row["digest"][7:]).read_bytes()
    assert sha256(data) == row["digest"]
    return data, json.loads(data)["config"]["digest"]


def in_archive(path: Path) -> tuple[bytes, str]:
    with tarfile.open(path) as tar:

        def member(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        row = image_row(member("index.json"))
        data = member(f"blobs/sha256/{row['digest'][7:]}")
        return data, json.loads(data)["config"]["digest"]


def in_registry(reference: str) -> tuple[bytes, str]:
    done = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"], capture_output=True, check=True
    )
    return done.stdout, json.loads(done.stdout)["config"]["digest"]


def check(found: tuple[bytes, str], expected: Expected, form: str, reference: str) -> None:
    manifest, config = found
    assert config == expected.config
    assert sha256(manifest) == (expected.digest(form, reference) or sha256(manifest))


@pytest.fixture
def build(
    dpbuild: Callable, example: Callable[[str], Path], bases: dict[str, str], form: str, expected: Expected
) -> Callable[..., str]:
    """Build hello on the base in this form; gives the line on stdout."""
    project = example("hello")
    if form == "compose":
        # Debian may have a newer package by now.
        (project / LOCK).write_text(expected.lock)
    return lambda *words: str(dpbuild("build", project, "--base", bases[form], *words).out.strip())


@pytest.fixture
def local(registry: str, form: str) -> str:
    """A repository that no other run beside this one uses."""
    return f"pairs.example/{registry.rpartition(':')[2]}/{form.replace(' ', '-')}"


# One way out at a time is slow for most ways in: `make test` has all of these at once.
ALONE = pytest.mark.parametrize(
    "form",
    [pytest.param(row, marks=[] if row in ("compose", "registry") else pytest.mark.slow) for row in INPUTS],
    indirect=True,
)


@pytest.fixture(params=INPUTS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@ALONE
def test_to_a_folder(
    build: Callable[..., str], dpbuild: Callable, bases: dict[str, str], form: str, expected: Expected, tmp_path: Path
) -> None:
    line = build("-o", tmp_path / "image")
    found = in_layout(tmp_path / "image")
    check(found, expected, form, bases[form])
    assert line == f"oci:{tmp_path}/image@{sha256(found[0])}"
    # As root, who may read the folder; the base's own user is seen to in the other places.
    assert dpbuild("run", "--builder", "none", line, "--", "pair").out.startswith(SAID.partition(", user")[0])


@ALONE
def test_to_an_archive(
    build: Callable[..., str], local: str, bases: dict[str, str], form: str, expected: Expected, tmp_path: Path
) -> None:
    path = tmp_path / "image.tar"
    name = f"{local}:archive"
    line = build("-o", path, "-t", name)
    found = in_archive(path)
    check(found, expected, form, bases[form])
    assert line == f"oci-archive:{path}@{sha256(found[0])}"
    run("docker", "load", "-q", "-i", path)
    try:
        assert run("docker", "run", "--rm", name, "pair") == SAID
    finally:
        run("docker", "rmi", name)


@ALONE
def test_to_an_engine(
    build: Callable[..., str], local: str, bases: dict[str, str], form: str, expected: Expected
) -> None:
    name = f"{local}:load"
    line = build("--load", "-t", name)
    try:
        about = json.loads(run("docker", "image", "inspect", name))[0]
        # An engine knows an image by its config, or by its manifest where containerd keeps it.
        assert about["Id"] in {expected.config, expected.digest(form, bases[form])}
        assert line == f"docker-daemon:{about['Id']}"
        assert run("docker", "run", "--rm", line.removeprefix("docker-daemon:"), "pair") == SAID
        assert about["Config"]["Entrypoint"] == ["/usr/bin/python3.13", "-m", "hello"]
    finally:
        run("docker", "rmi", name)


@ALONE
def test_to_a_registry(
    build: Callable[..., str], registry: str, bases: dict[str, str], form: str, expected: Expected
) -> None:
    name = f"{registry}/pairs/{form.replace(' ', '-')}"
    line = build("--push", "-t", f"{name}:push")
    found = in_registry(f"{name}:push")
    check(found, expected, form, bases[form])
    assert line == f"{name}@{sha256(found[0])}"
    assert run("docker", "run", "--rm", "-q", line, "pair") == SAID
    run("docker", "rmi", line)


def test_to_all_of_them(
    build: Callable[..., str], registry: str, bases: dict[str, str], form: str, expected: Expected, tmp_path: Path
) -> None:
    name = f"{registry}/pairs/all-{form.replace(' ', '-')}"
    folder, archive, metadata = tmp_path / "image", tmp_path / "image.tar", tmp_path / "metadata.json"
    line = build("-o", archive, "-o", folder, "--push", "--load", "-t", f"{name}:all", "--metadata-file", metadata)
    try:
        found = in_registry(f"{name}:all")
        check(found, expected, form, bases[form])
        assert found == in_layout(folder) == in_archive(archive)
        assert line == f"{name}@{sha256(found[0])}"
        assert run("docker", "run", "--rm", f"{name}:all", "pair") == SAID
    finally:
        run("docker", "rmi", f"{name}:all")
    outputs = json.loads(metadata.read_text())["outputs"]
    assert [row["kind"] for row in outputs] == ["registry", "oci-archive", "oci", "docker"]
    assert {row["digest"] for row in outputs} == {sha256(found[0])}
