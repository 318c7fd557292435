"""The store on disk: blobs by digest, mappings, extracted trees.

Everything is written under a temporary name on the same file system and renamed, so a killed run leaves
nothing that looks whole; what it had under way is removed by the next run that has the store to itself. Blobs are
hashed once per run before their first use, by whichever of its processes comes first; mappings carry their own hash.
What is used gets a new modification time, once per run: that is how pruning tells what nobody needs any more.
"""

import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from dpbuild.adapters import store_lock
from dpbuild.errors import HashMismatch, StoreError
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import DamagedEntry

MARKER = "dpbuild-store-1"
# Bytes read at a time, and those from which on it pays to verify a blob while it is read.
_CHUNK: Final = 256 << 10
_LARGE: Final = 16 << 20
# Parents first: only then has each of them the mode that it is given.
_FOLDERS = ("blobs", "blobs/sha256", "maps", "trees", "tmp")


class DiskStore:
    """A folder of ours alone, in use until ``close``. Raises StoreError if another user owns it or may write to it."""

    def __init__(self, path: Path, note: Callable[[str], None] = lambda text: None) -> None:
        self.path = path
        self._blobs = path / "blobs" / "sha256"
        self._note = note
        self._verified: set[Digest] = set()
        self._used: set[Path] = set()
        self._told = False
        self._lock = threading.Lock()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            ours(path)
            left = (path / "tmp").is_dir() and any((path / "tmp").iterdir())
            self._in_use = store_lock.use(path, note, self._sweep if left else None)
            for name in _FOLDERS:
                (path / name).mkdir(exist_ok=True, mode=0o700)
                ours(path / name)
            (path / MARKER).touch()
        except OSError as problem:
            self.fail(problem, path)

    def _sweep(self) -> None:
        """Remove what killed runs had under way."""
        for path in (self.path / "tmp").iterdir():
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    remove_tree(path)
                else:
                    path.unlink()

    def close(self) -> None:
        """Say that this run needs the store no more."""
        self._in_use.release()

    def _use(self, path: Path) -> None:
        with self._lock:
            known = path in self._used
            self._used.add(path)
        if not known:
            # A store that can only be read is used all the same.
            with contextlib.suppress(OSError):
                os.utime(path)

    # blobs

    def _blob(self, digest: Digest) -> Path:
        return self._blobs / digest.hex

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        path = self._blob(digest)
        found = path.is_file()
        if found:
            self._use(path)
        return found

    def size(self, digest: Digest) -> int:
        """Its size in bytes. Raises KeyError if it is not here."""
        try:
            return self._blob(digest).stat().st_size
        except FileNotFoundError:
            raise KeyError(str(digest)) from None

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob that has its digest. Raises KeyError, or DamagedEntry for one that is discarded."""
        file = self._file(digest)
        try:
            self._verify(digest, file)
        except BaseException:
            file.close()
            raise
        return file

    @contextlib.contextmanager
    def opened(self, digest: Digest) -> Iterator[BinaryIO]:
        """As ``open``, for a block, at whose end it has its digest."""
        with self._file(digest) as file:
            if self.size(digest) < _LARGE:
                self._verify(digest, file)
                yield file
                return
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(1) as pool:
                verified = pool.submit(self._verify, digest, file)
                try:
                    yield file
                finally:
                    # What is wrong with its bytes comes before what became of them.
                    verified.result()

    def _file(self, digest: Digest) -> BinaryIO:
        path = self._blob(digest)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise KeyError(str(digest)) from None
        except OSError as problem:
            self.fail(problem, path)
        self._use(path)
        return file

    def _verify(self, digest: Digest, file: BinaryIO) -> None:
        with self._lock:
            if digest in self._verified:
                return
        if _hashed(file) != digest:
            self._blob(digest).unlink(missing_ok=True)
            self._note(f"a damaged entry of the store was discarded: {digest}")
            raise DamagedEntry(str(digest))
        with self._lock:
            self._verified.add(digest)

    def verified(self) -> frozenset[Digest]:
        """The blobs that have their digest: this run has seen to that, or has written them."""
        with self._lock:
            return frozenset(self._verified)

    def trust(self, digests: Iterable[Digest]) -> None:
        """Take blobs as verified that another process of the same run has verified or written."""
        with self._lock:
            self._verified.update(digests)

    def _new(self) -> tuple[int, Path]:
        """A file of its own to write to, open, and its name. Raises OSError.

        tempfile would import ten modules for it, which an edit takes longer for than for its layer.
        """
        name = self.path / "tmp" / f"new-{os.urandom(16).hex()}"
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), name

    @contextlib.contextmanager
    def writer(self) -> Iterator["DiskWriter"]:
        """Write a blob; leaving without ``commit`` leaves nothing behind."""
        try:
            handle, name = self._new()
        except OSError as problem:
            self.fail(problem, self.path)
        writer = DiskWriter(self, os.fdopen(handle, "wb", buffering=1 << 18), name)
        try:
            yield writer
        finally:
            writer.discard()

    # mappings

    def _map(self, kind: str, key: str) -> Path:
        return self.path / "maps" / kind / hashlib.sha256(key.encode()).hexdigest()

    def get(self, kind: str, key: str) -> bytes | None:
        """What was kept; a damaged mapping counts as none."""
        path = self._map(kind, key)
        try:
            # Read apart, so that megabytes are not copied to be without their hash.
            with path.open("rb", buffering=0) as file:
                said, data = file.read(32), file.readall()
        except FileNotFoundError:
            return None
        except OSError as problem:
            self.fail(problem, path)
        if hashlib.sha256(data).digest() != said:
            path.unlink(missing_ok=True)
            self._note(f"a damaged entry of the store was discarded: {kind}")
            return None
        self._use(path)
        return data

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Keep a mapping."""
        path = self._map(kind, key)
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            handle, name = self._new()
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(value).digest())
                    file.write(value)
                name.replace(path)
            except BaseException:
                name.unlink(missing_ok=True)
                raise
        except OSError as problem:
            self.fail(problem, path)

    @contextlib.contextmanager
    def alone(self, kind: str, key: str) -> Iterator[None]:
        """One run at a time, by a lock on a file that is there only meanwhile."""
        name = hashlib.sha256(f"{kind} {key}".encode()).hexdigest()[:32]
        with store_lock.alone(self.path / "tmp" / f"lock-{name}", self._waiting):
            yield

    def _waiting(self) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._note("waiting for another dpbuild that fetches or makes the same")

    # trees

    def folder(self, kind: str, key: str) -> str | None:
        """The path of a tree kept under this key."""
        path = self.path / "trees" / kind / hashlib.sha256(key.encode()).hexdigest()
        if not path.is_dir():
            return None
        self._use(path)
        return str(path)

    @contextlib.contextmanager
    def make_folder(self, kind: str, key: str) -> Iterator[str]:
        """A new folder, visible under the key after the block. If another run made it meanwhile, that one stays."""
        import tempfile

        path = self.path / "trees" / kind / hashlib.sha256(key.encode()).hexdigest()
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            temporary = Path(tempfile.mkdtemp(dir=self.path / "tmp"))
        except OSError as problem:
            self.fail(problem, path)
        try:
            yield str(temporary)
            try:
                temporary.rename(path)
            except OSError as problem:
                if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    self.fail(problem, path)
        finally:
            if temporary.exists():
                remove_tree(temporary)

    def fail(self, problem: OSError, path: Path) -> NoReturn:
        """Raise what went wrong at a path in the store as a StoreError."""
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                "the disk is full", where=str(self.path), hint="free some room, or choose another --cache-dir"
            ) from problem
        text = os.strerror(problem.errno) if problem.errno else str(problem)
        raise StoreError(
            f"the store cannot be used: {text}", where=str(path), hint="choose another --cache-dir"
        ) from problem


class DiskWriter:
    """A blob on its way into a store."""

    def __init__(self, store: DiskStore, file: BinaryIO, path: Path) -> None:
        self._store = store
        self._file = file
        self._path: Path | None = path
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises StoreError."""
        self._hash.update(data)
        self._size += len(data)
        try:
            self._file.write(data)
        except OSError as problem:
            self._store.fail(problem, self._store.path)

    def commit(self, expected: Digest | None = None) -> tuple[Digest, int]:
        """Make the blob visible. Raises HashMismatch, StoreError."""
        digest = Digest(self._hash.hexdigest())
        if expected is not None and expected != digest:
            raise HashMismatch(f"expected {expected}, got {digest}")
        assert self._path is not None, "committed twice"  # noqa: S101 - a bug of ours, not of the user
        try:
            self._file.close()
            self._path.replace(self._store._blob(digest))
        except OSError as problem:
            self._store.fail(problem, self._store.path)
        self._path = None
        with self._store._lock:
            self._store._verified.add(digest)
        return digest, self._size

    def discard(self) -> None:
        """Forget what was not committed."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._path is not None:
            # What cannot be removed is left in tmp; the error that led here is the one to be seen.
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._path = None


def _hashed(file: BinaryIO) -> Digest:
    """Of the whole file; whoever reads it meanwhile stays where he is."""
    found = hashlib.sha256()
    room, at = memoryview(bytearray(_CHUNK)), 0
    while size := os.preadv(file.fileno(), [room], at):
        found.update(room[:size])
        at += size
    return Digest(found.hexdigest())


def ours(path: Path) -> None:
    """Raises StoreError if another user owns the folder or may write to it."""
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise StoreError("the store belongs to another user", where=str(path), hint="choose another --cache-dir")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(
            "the store may be written by other users",
            where=str(path),
            hint=f"chmod go-w {path}, or choose another --cache-dir",
        )


def remove_tree(path: Path) -> None:
    """Remove a tree whose folders may be read-only, following none of its links."""
    from dpbuild.adapters import rootfs

    rootfs.remove(str(path))
