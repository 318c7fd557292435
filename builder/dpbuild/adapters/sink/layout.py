"""An OCI layout folder (OCI image spec, image-layout.md)."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dpbuild.adapters.sink.files import fail, probe
from dpbuild.errors import OutputError
from dpbuild.frozen import replace
from dpbuild.model.image import Image, Images, Referrer, Written
from dpbuild.oci import mediatype
from dpbuild.oci.codec import canonical, encode_index
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Index
from dpbuild.oci.reference import RegistryReference

_VERSION = canonical({"imageLayoutVersion": "1.0.0"})
# What files are called while they are written.
_NEW = ".new-"
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

    def check(self, images: Images | None = None) -> None:
        """Refuse a folder that is not ours to replace, or that cannot be written. Raises OutputError."""
        path = self._path
        try:
            # One look: another run may be making it just now.
            kind = _kind(path)
            if kind == stat.S_IFDIR:
                strange = any(not row.name.startswith(_NEW) for row in path.iterdir())
                if strange and not (path / "oci-layout").is_file():
                    raise OutputError(
                        "the output folder is neither empty nor an OCI layout",
                        where=str(path),
                        hint="choose another folder, or empty this one",
                    )
            elif kind:
                raise OutputError("the output is there and is no folder", where=str(path), hint="choose another path")
            probe(path)
        except OSError as problem:
            fail(problem, self._path, "folder")

    def write(self, images: Images) -> Written:
        """Write all of it. Raises OutputError (80), StoreError (110) when the disk is full."""
        self.check()
        blobs = self._path / "blobs" / "sha256"
        folders = [path for path in (blobs, *blobs.parents) if not path.exists()]
        try:
            with _alone(self._path):
                return self._write(images, folders)
        except OSError as problem:
            fail(problem, self._path, "folder")

    def _write(self, images: Images, folders: list[Path]) -> Written:
        root = self._path
        blobs = root / "blobs" / "sha256"
        # What would be left of a write that fails; what was there before stays as it was.
        fresh: list[Path] = []
        wanted: set[str] = set()
        sent = present = 0
        try:
            # First what makes the folder a layout: a run that is killed must leave one that the next may replace.
            root.mkdir(parents=True, exist_ok=True)
            _note_fresh(root / "oci-layout", fresh)
            _put(root / "oci-layout", _VERSION)
            blobs.mkdir(parents=True, exist_ok=True)
            for descriptor, data in _documents(images, self._referrers(images)):
                wanted.add(descriptor.digest.hex)
                _note_fresh(blobs / descriptor.digest.hex, fresh)
                _put(blobs / descriptor.digest.hex, data)
            for layer in dict.fromkeys(layer for image in images.images for layer in image.manifest.layers):
                wanted.add(layer.digest.hex)
                target = blobs / layer.digest.hex
                if _holds(target, layer):
                    present += layer.size
                    continue
                _note_fresh(target, fresh)
                self._copy(layer, target)
                sent += layer.size
            index = Index(media_type=mediatype.OCI_INDEX, manifests=self._rows(images))
            _put(root / "index.json", encode_index(index))
        except BaseException as problem:
            with contextlib.suppress(OSError):
                for path in fresh:
                    path.unlink(missing_ok=True)
                for path in folders:
                    path.rmdir()
            if isinstance(problem, OSError):
                fail(problem, self._path, "folder")
            raise
        # The image is whole by now, whatever becomes of the old one's blobs.
        with contextlib.suppress(OSError):
            for stale in (*blobs.iterdir(), *root.glob(f"{_NEW}*")):
                if stale.name not in wanted:
                    stale.unlink()
        return Written(
            kind="oci",
            reference=f"oci:{self._path}@{images.descriptor.digest}",
            tags=tuple(str(tag) for tag in self._tags),
            descriptor=images.descriptor,
            platforms=tuple(image.platform for image in images.images),
            sent=sent,
            present=present,
        )

    def _rows(self, images: Images) -> tuple[Descriptor, ...]:
        """The image under its tags, then its evidence, as oras keeps it in a layout.

        Beside evidence the image always has a name: of several rows, other tools want to be told which.
        """
        tags = dict.fromkeys(reference.tag or "latest" for reference in self._tags)
        if self._referrers(images) and not tags:
            tags = {"latest": None}
        rows = tuple(replace(images.descriptor, annotations=((_REF_NAME, tag),)) for tag in tags)
        return (*(rows or (images.descriptor,)), *(row.descriptor for row in self._referrers(images)))

    def _referrers(self, images: Images) -> tuple[Referrer, ...]:
        return images.referrers_in(*(tag.name for tag in self._tags))

    def _copy(self, layer: Descriptor, target: Path) -> None:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_NEW)
        try:
            with os.fdopen(handle, "wb") as out, self._blob(layer) as source:
                shutil.copyfileobj(source, out, 1 << 20)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _kind(path: Path) -> int:
    """The type of what a path leads to (inode(7)), that of the link itself if it leads nowhere; 0 for nothing."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return stat.S_IFLNK if path.is_symlink() else 0


def _documents(images: Images, referrers: tuple[Referrer, ...]) -> list[tuple[Descriptor, bytes]]:
    rows = [pair for image in images.images for pair in _image_documents(image)]
    if images.index_bytes:
        rows.append((images.descriptor, images.index_bytes))
    for referrer in referrers:
        rows += [
            *((row.descriptor, row.read()) for row in referrer.blobs),
            (referrer.descriptor, referrer.manifest_bytes),
        ]
    return rows


def _image_documents(image: Image) -> list[tuple[Descriptor, bytes]]:
    return [(image.manifest.config, image.config_bytes), (image.descriptor, image.manifest_bytes)]


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait for other runs that write the same folder: each would take the other's files under way for leftovers."""
    while True:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Where a file system has no locks, everybody is alone.
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is(handle, root):
                yield
                return
        finally:
            os.close(handle)


def _is(handle: int, path: Path) -> bool:
    """Whether the folder that is open is still the one with this name; a run that failed may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _put(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_NEW)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _note_fresh(path: Path, fresh: list[Path]) -> None:
    if not path.exists():
        fresh.append(path)


def _holds(path: Path, descriptor: Descriptor) -> bool:
    """Whether the file is this blob; one that a crash left half-written or that was changed is not."""
    if not path.is_file() or path.stat().st_size != descriptor.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == descriptor.digest.hex
