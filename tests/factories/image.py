"""Layers and whole images as OCI layouts, made from dicts of paths."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Hard:
    """A hard link."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A folder with a mode and an owner."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class File:
    """A file with a mode, other than executable, an owner and a time."""

    data: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1


Content = bytes | str | Link | Hard | Folder | File
Files = dict[str, Content]


def make_tar(files: Files, *, kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar with these entries in this order; bytes and text become files of mode 0755."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for path, content in files.items():
            row = tarfile.TarInfo(path)
            row.mode, row.mtime = 0o755, 1
            data = b""
            match content:
                case Link(target):
                    row.type, row.linkname, row.mode = tarfile.SYMTYPE, target, 0o777
                case Hard(target):
                    row.type, row.linkname = tarfile.LNKTYPE, target
                case Folder(mode, uid, gid):
                    row.type, row.mode, row.uid, row.gid = tarfile.DIRTYPE, mode, uid, gid
                case File(data, mode, uid, gid, mtime):
                    row.mode, row.uid, row.gid, row.mtime = mode, uid, gid, mtime
                case str():
                    data = content.encode()
                case bytes():
                    data = content
            row.size = len(data)
            tar.addfile(row, io.BytesIO(data))
    return out.getvalue()


@dataclass(frozen=True)
class MadeImage:
    """An image in a layout: descriptors of what there is."""

    path: Path
    root: Descriptor
    manifests: tuple[Descriptor, ...]
    layers: tuple[Descriptor, ...]

    def blob(self, descriptor: Descriptor) -> Path:
        """Where a blob is."""
        return self.path / "blobs" / "sha256" / descriptor.digest.hex


class Layout:
    """An OCI layout being made in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(self, data: bytes, media_type: str) -> Descriptor:
        """Add a blob."""
        digest = Digest.of(data)
        (self.path / "blobs" / "sha256" / digest.hex).write_bytes(data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    def json(self, value: object, media_type: str) -> Descriptor:
        """Add a JSON document."""
        return self.put(json.dumps(value).encode(), media_type)

    def image(
        self,
        *layers: Files | bytes,
        config: dict[str, object] | None = None,
        platform: str = "linux/amd64",
        annotations: dict[str, str] | None = None,
        docker: bool = False,
        compress: bool = True,
    ) -> tuple[Descriptor, tuple[Descriptor, ...]]:
        """One platform's image; a layer given as bytes is a tar. Returns its manifest and its layers."""
        rows, diff_ids = [], []
        kinds = (mediatype.DOCKER_LAYER_GZIP, mediatype.DOCKER_LAYER) if docker else (
            mediatype.OCI_LAYER_GZIP, mediatype.OCI_LAYER)  # fmt: skip
        for files in layers:
            tar = files if isinstance(files, bytes) else make_tar(files)
            diff_ids.append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
            rows.append(self.put(gzip.compress(tar, 1, mtime=0) if compress else tar, kinds[0 if compress else 1]))
        system, architecture, *variant = platform.split("/")
        document: dict[str, object] = {
            "os": system,
            "architecture": architecture,
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        if variant:
            document["variant"] = variant[0]
        kind = mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG
        manifest: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST,
            "config": _row(self.json(document, kind)),
            "layers": [_row(row) for row in rows],
        }
        if annotations:
            manifest["annotations"] = annotations
        return self.json(manifest, str(manifest["mediaType"])), tuple(rows)

    def index(self, *rows: tuple[Descriptor, dict[str, object]], docker: bool = False) -> Descriptor:
        """An index as a blob; each row with what its descriptor has besides."""
        kind = mediatype.DOCKER_INDEX if docker else mediatype.OCI_INDEX
        manifests = [_row(descriptor) | more for descriptor, more in rows]
        return self.json({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}, kind)

    def finish(self, *rows: tuple[Descriptor, dict[str, object]]) -> None:
        """Write ``index.json``."""
        manifests = [_row(descriptor) | more for descriptor, more in rows]
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def _row(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}


def tagged(name: str) -> dict[str, object]:
    """What makes a row of ``index.json`` have a tag."""
    return {"annotations": {"org.opencontainers.image.ref.name": name}}


def on(platform: str) -> dict[str, object]:
    """What makes a row of an index be for a platform."""
    system, architecture, *variant = platform.split("/")
    return {"platform": {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})}


def make_image(path: Path, *layers: Files | bytes, tag: str = "latest", **image: object) -> MadeImage:
    """A layout with one image for linux/amd64 in it."""
    layout = Layout(path)
    manifest, rows = layout.image(*layers, **image)  # type: ignore[arg-type]
    layout.finish((manifest, tagged(tag)))
    return MadeImage(path, manifest, (manifest,), rows)


def docker_archive(
    path: Path,
    *layers: Files,
    config: dict[str, object] | None = None,
    linked: bool = False,
    compress: bool = False,
) -> Path:
    """What ``docker save`` wrote before it wrote layouts; ``linked``: equal layers are links."""
    tars = [make_tar(layer) for layer in layers]
    diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    text = json.dumps({"os": "linux", "architecture": "amd64", "config": config or {}, "rootfs": rootfs})
    files: Files = {}
    first: dict[str, str] = {}
    for number, (tar, diff_id) in enumerate(zip(tars, diff_ids, strict=True)):
        name = f"{number}/layer.tar"
        files[name] = Link(f"../{first[diff_id]}") if linked and diff_id in first else (
            gzip.compress(tar, mtime=0) if compress else tar)  # fmt: skip
        first.setdefault(diff_id, name)
    files["config.json"] = text
    names = [f"{number}/layer.tar" for number in range(len(tars))]
    files["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": ["x:latest"], "Layers": names}])
    path.write_bytes(make_tar(files))
    return path
