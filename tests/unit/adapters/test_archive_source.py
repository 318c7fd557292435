"""Reading archives: OCI layouts in a tar, and what docker save writes, today and in former times."""

import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.image import Files, Link, MadeImage, docker_archive, make_image, make_tar
from factories.python_image import PATH, Notes, debian

from dpbuild.adapters.source.archive import archive_source
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import BaseImageError, NotFound
from dpbuild.oci.digest import Digest
from dpbuild.oci.mediatype import OCI_LAYER, OCI_LAYER_GZIP
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ArchiveReference, parse
from dpbuild.stages.base import read_base

AMD64 = Platform("linux", "amd64")
CONFIG: dict[str, object] = {"Env": [PATH], "Entrypoint": ["/usr/bin/python3.13"]}


def oci(path: Path, digest: Digest | None = None) -> ArchiveReference:
    return ArchiveReference(kind="oci-archive", path=str(path), digest=digest)


def docker(path: Path, digest: Digest | None = None) -> ArchiveReference:
    return ArchiveReference(kind="docker-archive", path=str(path), digest=digest)


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    return make_image(tmp_path / "layout", *debian(), config=CONFIG)


@pytest.fixture
def packed(image: MadeImage, tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(image.path, ".")
    return path


def test_an_oci_archive_is_a_layout(packed: Path, image: MadeImage, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store")
    for digest in (None, image.root.digest):
        reference = oci(packed, digest)
        found = read_base(reference, archive_source(reference), AMD64, store, Notes())
        assert (found.descriptor.digest, found.facts.version) == (image.root.digest, "3.13.5")


def test_a_digest_that_is_not_in_it(packed: Path) -> None:
    with pytest.raises(NotFound, match="the layout has no sha256:000"):
        archive_source(oci(packed, Digest("0" * 64))).resolve()


def test_a_damaged_blob_in_an_archive_is_noticed(packed: Path, image: MadeImage) -> None:
    layer = image.layers[0]
    data = image.blob(layer).read_bytes()
    packed.write_bytes(packed.read_bytes().replace(data, data[:-1] + bytes((data[-1] ^ 1,))))

    with pytest.raises(BaseImageError, match="is damaged"):
        list(archive_source(oci(packed)).blob(layer))


@pytest.mark.parametrize(("linked", "compress"), [(False, False), (True, False), (False, True)])
def test_what_docker_saved(linked: bool, compress: bool, tmp_path: Path) -> None:
    layers = debian()
    path = docker_archive(tmp_path / "x.tar", layers[0], *layers, linked=linked, compress=compress, config=CONFIG)
    reference = docker(path)
    found = read_base(reference, archive_source(reference), AMD64, DiskStore(tmp_path / "store"), Notes())

    assert found.facts.version == "3.13.5"
    assert {row.media_type for row in found.manifest.layers} == {OCI_LAYER_GZIP if compress else OCI_LAYER}
    assert found.manifest.layers[0] == found.manifest.layers[1]
    again = archive_source(docker(path, found.descriptor.digest)).resolve()[0]
    assert again.digest == found.descriptor.digest
    with pytest.raises(NotFound, match="the archive holds"):
        archive_source(docker(path, Digest("0" * 64))).resolve()


def test_several_images_are_told_apart_by_digest(tmp_path: Path) -> None:
    layers = [make_tar(layer) for layer in debian()]
    files: Files = {f"{number}.tar": tar for number, tar in enumerate(layers)}
    rows, ids = [], []
    for name in ("first", "second"):
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in layers]}
        inner = {**CONFIG, "Labels": {"name": name}}
        config = json.dumps({"os": "linux", "architecture": "amd64", "config": inner, "rootfs": rootfs})
        files[f"{name}.json"] = config
        ids.append(Digest.of(config.encode()))
        names = [f"{number}.tar" for number in range(len(layers))]
        rows.append({"Config": f"{name}.json", "RepoTags": [f"{name}:1"], "Layers": names})
    files["manifest.json"] = json.dumps(rows)
    path = tmp_path / "x.tar"
    path.write_bytes(make_tar(files))

    with pytest.raises(BaseImageError, match="has 2 images") as caught:
        archive_source(docker(path)).resolve()
    assert f"{ids[0]} first:1\n" in caught.value.what
    assert f"{ids[1]} second:1" in caught.value.what
    assert caught.value.hint is not None
    assert "@sha256" in caught.value.hint
    for name, image_id in zip(("first", "second"), ids, strict=True):
        reference = docker(path, image_id)
        store = DiskStore(tmp_path / "store")
        found = read_base(reference, archive_source(reference), AMD64, store, Notes())
        assert dict(found.config.labels) == {"name": name}
        # The digest of the manifest that is made for it names it, too.
        assert archive_source(docker(path, found.descriptor.digest)).resolve()[0] == found.descriptor
    with pytest.raises(BaseImageError, match="has 2 images"):
        archive_source(docker(path, Digest("0" * 64))).resolve()


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_what_skopeo_writes(kind: str, image: MadeImage, tmp_path: Path, need: Callable[..., None]) -> None:
    need("skopeo")
    skopeo = shutil.which("skopeo")
    assert skopeo is not None
    subprocess.run(
        [skopeo, "copy", "--insecure-policy", f"oci:{image.path}:latest", f"{kind}:{tmp_path}/x.tar:name:tag"],
        check=True,
        capture_output=True,
    )
    reference = parse(f"{kind}:{tmp_path}/x.tar")
    assert isinstance(reference, ArchiveReference)

    found = read_base(reference, archive_source(reference), AMD64, DiskStore(tmp_path / "store"), Notes())

    assert found.facts.interpreter == "/usr/bin/python3.13"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"x": "y"}, "it has no manifest.json"),
        ({"manifest.json": "["}, r"manifest\.json is broken"),
        ({"manifest.json": "[{}]"}, r"manifest\.json is broken"),
        ({"manifest.json": "[]"}, "has 0 images"),
        ({"manifest.json": '[{"Config":"c","Layers":[]},{"Config":"d","Layers":[]}]', "c": "{}"}, "lacks d"),
        ({"manifest.json": '[{"Config":"c","Layers":[1]}]'}, r"manifest\.json is broken"),
        ({"manifest.json": '[{"Config":"c","Layers":[],"RepoTags":[1]}]'}, r"manifest\.json is broken"),
        ({"manifest.json": '["x"]'}, r"manifest\.json is broken"),
        ({"manifest.json": '[{"Config":"c","Layers":["l"]}]', "c": "{}"}, "lacks l"),
        ({"manifest.json": '[{"Config":"../c","Layers":[]}]'}, "lacks ../c"),
        ({"manifest.json": '[{"Config":"c","Layers":[]}]', "c": Link("c")}, "lacks c"),
    ],
)
def test_what_is_no_docker_archive(files: Files, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(make_tar(files))
    with pytest.raises(BaseImageError, match=said):
        archive_source(docker(path)).resolve()


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such archive"):
        archive_source(oci(tmp_path / "nothing"))
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(make_tar({"a": "x"})))
    with pytest.raises(BaseImageError, match="compressed as a whole"):
        archive_source(oci(path))
    path.write_bytes(b"no tar".ljust(2000, b"."))
    with pytest.raises(BaseImageError, match="cannot be read"):
        archive_source(oci(path))
    with pytest.raises(BaseImageError, match="cannot be read"):
        archive_source(oci(tmp_path))
