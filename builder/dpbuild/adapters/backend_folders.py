"""The folders of one build: the source, the build requirements, results and a home, made and removed."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dpbuild.adapters import rootfs
from dpbuild.adapters.store import DiskStore, remove_tree
from dpbuild.archive.deflate import Splicer
from dpbuild.archive.read import ReadError, open_layer
from dpbuild.archive.zip import ZipError
from dpbuild.errors import ArtifactError, ConfigError, UnsafeWheel
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.files import ProjectFile
from dpbuild.ports.backend import Source
from dpbuild.ports.sandbox import Mount
from dpbuild.pypa import record, scripts
from dpbuild.stages.layers.wheels import open_wheel
from dpbuild.stages.sdist import unzipped

# Where the folders are in the sandbox.
SOURCE: Final = "/build/source"
SITE: Final = "/build/site"
RESULTS: Final = "/build/results"
HOME: Final = "/build/home"
# A zip holds no earlier time; backends take it from SOURCE_DATE_EPOCH.
EPOCH: Final = 315532800
# What every program sees that makes or mends a wheel, whatever it is asked to see besides.
FIXED: Final = MappingProxyType(
    {
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{SITE}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Sets are walked through in the same order: auditwheel does, and patchelf writes in it.
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        # For programs that a build starts: the requirements are found by the backend itself without it.
        "PYTHONPATH": SITE,
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "TZ": "UTC",
    }
)
# What an sdist may unpack to, in bytes.
_LARGEST: Final = 8 << 30


@frozen(kw_only=False)
class Folders:
    """The four folders on the host."""

    source: Path
    site: Path
    results: Path
    home: Path

    def mounts(self) -> tuple[Mount, ...]:
        """Their places; the build requirements cannot be written to."""
        return (
            Mount(source=str(self.source), target=SOURCE, writable=True),
            Mount(source=str(self.site), target=SITE),
            Mount(source=str(self.results), target=RESULTS, writable=True),
            Mount(source=str(self.home), target=HOME, writable=True),
        )


@contextlib.contextmanager
def folders(store: DiskStore, interpreter: str, source: Source, wheels: Sequence[Artifact]) -> Iterator[Folders]:
    """The folders, filled. ``interpreter`` is what the requirements' programs are started with.

    Raises StoreError, ConfigError, ArtifactError for an sdist that is broken, UnsafeWheel.
    """
    try:
        root = Path(tempfile.mkdtemp(prefix="dpbuild-build-", dir=store.path / "tmp"))
    except OSError as problem:
        store.fail(problem, store.path)
    try:
        found = Folders(root / "source", root / "site", root / "results", root / "home")
        try:
            _fill(found, store, interpreter, source, wheels)
        except OSError as problem:
            store.fail(problem, root)
        yield found
    finally:
        remove_tree(root)


def _fill(found: Folders, store: DiskStore, interpreter: str, source: Source, wheels: Sequence[Artifact]) -> None:
    for folder in (found.source, found.site, found.results, found.home):
        folder.mkdir()
        folder.chmod(0o755)
    if isinstance(source, Artifact):
        _unpack_sdist(store, source, found.source)
    else:
        for file in source:
            _copy(file, found.source)
        for folder in sorted((row for row in found.source.rglob("*") if row.is_dir()), reverse=True):
            os.utime(folder, (EPOCH, EPOCH))
    for wheel in wheels:
        _unpack_wheel(store, wheel, found.site, interpreter)


def _unpack_sdist(store: DiskStore, sdist: Artifact, folder: Path) -> None:
    """An sdist (PyPA specs, "Source distribution format"): one folder in a compressed tar, or in a zip as they were."""
    try:
        with store.open(sdist.digest) as blob:
            if sdist.filename.endswith(".zip"):
                for name, mode, content in unzipped(blob, sdist.filename):
                    if name:
                        _write(folder / name, content(), executable=bool(mode & 0o111))
                        os.utime(folder / name, (EPOCH, EPOCH))
            else:
                stream, _ = open_layer(blob, limit=_LARGEST)
                rootfs.unpack(stream, str(folder), strip=1)
        # A wheel cannot hold an earlier time, and some backends take the files' own.
        for path in folder.rglob("*"):
            if not path.is_symlink() and path.stat().st_mtime < EPOCH:
                os.utime(path, (EPOCH, EPOCH))
    except (ReadError, ZipError) as problem:
        raise ArtifactError(f"{sdist.filename} cannot be unpacked: {problem}") from None


def _unpack_wheel(store: DiskStore, artifact: Artifact, site: Path, interpreter: str) -> None:
    """A build requirement: its modules, and its programs in ``bin``."""
    splicer = Splicer()
    try:
        with store.open(artifact.digest) as blob:
            opened = open_wheel(artifact, blob, splicer)
            rows = []
            for row in opened.wheel.files:
                if row.scheme not in ("purelib", "platlib", "scripts"):
                    continue
                path = site / ("bin" if row.scheme == "scripts" else "") / row.path
                data = opened.contents[row.member].data(splicer)
                if row.scheme == "scripts":
                    data = scripts.with_shebang(data, interpreter)
                _write(path, data, executable=row.scheme == "scripts" or bool(opened.modes[row.member] & 0o111))
                rows.append(record.Row(path=path.relative_to(site).as_posix()))
            # Some look for their own files in it (cmake).
            _write(site / opened.wheel.dist_info / "RECORD", record.render(rows), executable=False)
            for point in scripts.entry_points(opened.wheel.entry_points):
                _write(site / "bin" / point.name, scripts.text(point, interpreter), executable=True)
    except ValueError as problem:
        raise UnsafeWheel(f"{artifact.filename}: {problem}") from None
    finally:
        splicer.close()


def _write(path: Path, data: bytes, *, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o755 if executable else 0o644)


def _copy(file: ProjectFile, folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.target:
        path.symlink_to(file.target)
        return
    if file.open is None:
        raise ConfigError("a file of the project cannot be opened", where=file.path)
    try:
        with file.open() as source:
            data = source.read()
    except OSError as problem:
        raise ConfigError(f"cannot read the file: {problem.strerror}", where=file.path) from None
    path.write_bytes(data)
    path.chmod(0o755 if file.executable else 0o644)
    os.utime(path, (EPOCH, EPOCH))
