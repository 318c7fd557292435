"""An OCI layout folder (OCI image spec, image-layout.md)."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from dpbuild.errors import OutputError, StoreError
from dpbuild.model.image import Image, Images, Written
from dpbuild.oci import mediatype
from dpbuild.oci.codec import canonical, encode_index
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Index
from dpbuild.oci.reference import RegistryReference

_VERSION = canonical({"imageLayoutVersion": "1.0.0"})
_REF_NAME = "org.opencontainers.image.ref.name"


class LayoutSink:
    """Writes the folder ``path``; ``blob`` opens a layer.

    Blobs are put beside those that are there, then ``index.json`` is replaced in one step, then what nothing
    refers to is removed; whoever reads at any moment sees the old image or the new one, whole.
    """

    def __init__(self, path: Path, tags: tuple[RegistryReference, ...], blob: Callable[[Descriptor], BinaryIO]) -> None:
        self._path = path
        self._tags = tags
        self._blob = blob

    def check(self) -> None:
        """Refuse a folder that is not ours to replace, or that cannot be written. Raises OutputError."""
        path = self._path
        if path.is_dir():
            if any(path.iterdir()) and not (path / "oci-layout").is_file():
                raise OutputError(
                    "the output folder is neither empty nor an OCI layout",
                    where=str(path),
                    hint="choose another folder, or empty this one",
                )
            probe = path
        elif path.exists() or path.is_symlink():
            raise OutputError("the output is there and is no folder", where=str(path), hint="choose another path")
        else:
            probe = path.parent
            while not probe.exists():
                probe = probe.parent
        try:
            with tempfile.TemporaryFile(dir=probe):
                pass
        except OSError as problem:
            self._fail(problem)

    def write(self, images: Images) -> Written:
        """Write all of it. Raises OutputError (80), StoreError (110) when the disk is full."""
        self.check()
        fresh = not self._path.exists()
        made = _missing_parents(self._path)
        try:
            root = self._path
            blobs = root / "blobs" / "sha256"
            blobs.mkdir(parents=True, exist_ok=True)
            sent = present = 0
            wanted: set[str] = set()
            for descriptor, data in _documents(images):
                wanted.add(descriptor.digest.hex)
                if not (blobs / descriptor.digest.hex).is_file():
                    _put(blobs / descriptor.digest.hex, data)
            for image in images.images:
                for layer in image.manifest.layers:
                    wanted.add(layer.digest.hex)
                    target = blobs / layer.digest.hex
                    if target.is_file() and target.stat().st_size == layer.size:
                        present += layer.size
                        continue
                    self._copy(layer, target)
                    sent += layer.size
            rows = tuple(
                replace(images.descriptor, annotations=((_REF_NAME, tag),))
                for tag in dict.fromkeys(reference.tag or "latest" for reference in self._tags)
            )
            index = Index(media_type=mediatype.OCI_INDEX, manifests=rows or (images.descriptor,))
            _put(root / "oci-layout", _VERSION)
            _put(root / "index.json", encode_index(index))
            for stale in blobs.iterdir():
                if stale.name not in wanted:
                    stale.unlink()
        except BaseException as problem:
            if fresh:
                shutil.rmtree(self._path, ignore_errors=True)
                for folder in made:
                    if folder.is_dir() and not any(folder.iterdir()):
                        folder.rmdir()
            if isinstance(problem, OSError):
                self._fail(problem)
            raise
        return Written(
            kind="oci",
            reference=f"oci:{self._path}@{images.descriptor.digest}",
            tags=tuple(str(tag) for tag in self._tags),
            descriptor=images.descriptor,
            platforms=tuple(image.platform for image in images.images),
            sent=sent,
            present=present,
        )

    def _copy(self, layer: Descriptor, target: Path) -> None:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as out, self._blob(layer) as source:
                shutil.copyfileobj(source, out, 1 << 20)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _fail(self, problem: OSError) -> NoReturn:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError("the disk is full", where=str(self._path), hint="free some room") from problem
        raise OutputError(
            f"cannot write the output: {problem.strerror}",
            where=str(self._path),
            hint="choose another folder with -o",
        ) from problem


def _documents(images: Images) -> list[tuple[Descriptor, bytes]]:
    rows = [pair for image in images.images for pair in _image_documents(image)]
    if images.index_bytes:
        rows.append((images.descriptor, images.index_bytes))
    return rows


def _image_documents(image: Image) -> list[tuple[Descriptor, bytes]]:
    return [(image.manifest.config, image.config_bytes), (image.descriptor, image.manifest_bytes)]


def _put(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _missing_parents(path: Path) -> list[Path]:
    return [folder for folder in path.parents if not folder.exists()]
