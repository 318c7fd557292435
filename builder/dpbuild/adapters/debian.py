"""Debian's archive over HTTP: signed releases, verified indices, verified packages.

Nothing that a mirror sends is believed: ``InRelease`` must be signed by one of the accepted keys, everything
else must have the size and hash that it, or what it vouches for, names. Nothing is written anywhere.
"""

import contextlib
import hashlib
import importlib.resources
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from dpbuild.adapters.debian_download import Download, HttpDownload, host_mirrors, without_user
from dpbuild.debian.indices import (
    BadIndex,
    IndexFile,
    Package,
    Release,
    gunzip,
    newest,
    packages,
    parse_release,
    timestamp,
    unxz,
)
from dpbuild.debian.package_index import PackageIndex
from dpbuild.debian.sources import Mirrors
from dpbuild.debian.version import without_epoch
from dpbuild.errors import BaseImageError, HashMismatch, NotFound
from dpbuild.frozen import frozen
from dpbuild.oci.reference import SNAPSHOT

__all__ = ["DebianArchive", "Download", "HttpDownload", "SignedRelease", "archive_keys", "host_mirrors", "without_user"]

# An InRelease of a few hundred kilobytes is usual.
_LARGEST_RELEASE: Final = 16 << 20
_ATTEMPTS: Final = 3
_HINT: Final = (
    "set mirror and security-mirror under [tool.dpbuild.debian], or DPBUILD_DEBIAN_MIRROR and"
    " DPBUILD_DEBIAN_SECURITY_MIRROR"
)
_SNAPSHOT_HINT: Final = (
    "set snapshot under [tool.dpbuild.debian], or DPBUILD_DEBIAN_SNAPSHOT, to the address of a mirror that keeps"
    " snapshots, with {archive} (debian, debian-security) and {timestamp} in it"
)


def archive_keys() -> tuple[bytes, ...]:
    """Debian's archive keys as dpbuild ships them: OpenPGP certificates, armoured."""
    folder = importlib.resources.files("dpbuild.debian") / "keys"
    return tuple(
        row.read_bytes() for row in sorted(folder.iterdir(), key=lambda row: row.name) if row.name.endswith(".asc")
    )


def signed_text(data: bytes, keys: tuple[bytes, ...], where: str) -> bytes:
    """What a cleartext-signed file says, if one of ``keys`` signed it. Raises BaseImageError."""
    import pysequoia

    try:
        certificates = [pysequoia.Cert.from_bytes(row) for row in keys]
        result = pysequoia.verify(data, store=lambda _ids: certificates)
    except Exception as problem:  # noqa: BLE001 - the library raises bare RuntimeErrors, and more than those
        text = (str(problem).splitlines() or [""])[0].rstrip(".")
        raise BaseImageError(
            f"InRelease is not signed by Debian's archive keys: {text}",
            where=where,
            hint="the mirror may be broken or somebody may be in the way; nothing of it was used",
        ) from None
    if not result.valid_sigs or result.bytes is None:
        raise BaseImageError("InRelease is not signed by Debian's archive keys", where=where)
    return result.bytes


@frozen
class SignedRelease:
    """A verified release and where it is: ``root`` is the mirror, ``base`` the folder of its ``InRelease``."""

    root: str
    base: str
    release: Release


class DebianArchive:
    """The archive of one run: every index is read once at the most.

    ``keys`` are the OpenPGP certificates that are accepted; ``now`` is the moment that dates are compared
    with. With a ``snapshot`` (``YYYYMMDDTHHMMSSZ``) the mirrors are those of the archive as it was then, and dates are
    compared with that moment. May be used from several threads.
    """

    def __init__(
        self,
        mirrors: Mirrors,
        download: Download,
        *,
        now: datetime,
        keys: tuple[bytes, ...] | None = None,
        snapshot: str = "",
    ) -> None:
        self._mirrors = mirrors
        self._download = download
        self._now = now
        self._keys = keys
        self._snapshot = snapshot
        self._hint = _SNAPSHOT_HINT if snapshot else _HINT
        self._releases: dict[str, tuple[SignedRelease, ...]] = {}
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str, frozenset[str]], tuple[Package, ...]] = {}
        self._pin_lock = threading.Lock()
        self._index_lock = threading.Lock()
        self._packages: dict[tuple[str, str], PackageIndex] = {}

    def releases(self, codename: str) -> tuple[SignedRelease, ...]:
        """The suite itself, its updates and its security updates, verified. Raises BaseImageError."""
        with self._lock:
            if codename not in self._releases:
                main, security = self._roots()
                self._releases[codename] = (
                    self._release(main, codename),
                    self._release(main, f"{codename}-updates"),
                    self._release(security, f"{codename}-security"),
                )
            return self._releases[codename]

    def _roots(self) -> tuple[str, str]:
        rows = (("", self._mirrors.main), ("security ", self._mirrors.security))
        missing = [f"no Debian {kind}mirror is known" for kind, root in rows if not root]
        if missing:
            what = "no mirror with snapshots of Debian is known" if self._snapshot else " and ".join(missing)
            raise BaseImageError(what, hint=self._hint)
        for _, root in rows:
            if urlsplit(root).scheme not in ("http", "https") or not urlsplit(root).netloc:
                raise BaseImageError(
                    "a Debian mirror is no http or https address", where=without_user(root), hint=self._hint
                )
        return rows[0][1].rstrip("/"), rows[1][1].rstrip("/")

    def _release(self, root: str, suite: str) -> SignedRelease:
        base = f"{root}/dists/{suite}/"
        url = base + "InRelease"
        where = without_user(url)
        time, clock = self._time()
        try:
            data = self._read(url, _LARGEST_RELEASE)
        except NotFound:
            what = f"snapshot {self._snapshot} of the suite" if self._snapshot else "suite"
            raise BaseImageError(f"the mirror has no {what} {suite}", where=where, hint=self._hint) from None
        keys = self._keys if self._keys is not None else archive_keys()
        try:
            release = parse_release(signed_text(data, keys, where))
            release.check_time(time, clock)
        except BadIndex as problem:
            raise BaseImageError(f"InRelease cannot be used: {problem}", where=where) from None
        if release.codename != suite:
            raise BaseImageError(f"InRelease is that of {release.codename}, expected {suite}", where=where)
        return SignedRelease(root=root, base=base, release=release)

    def _time(self) -> tuple[datetime, str]:
        """What dates are compared with, and by whose clock. Raises BaseImageError for a snapshot of tomorrow."""
        if not self._snapshot:
            return self._now, "by this machine's clock"
        moment = datetime.strptime(self._snapshot, SNAPSHOT).replace(tzinfo=UTC)
        if moment > self._now:
            raise BaseImageError(f"there is no snapshot of {self._snapshot} yet: it is {timestamp(self._now)}")
        return moment, "in the snapshot"

    def indices(self, codename: str, architecture: str) -> tuple[IndexFile, ...]:
        """The ``Packages`` indices that a selection depends on. Raises BaseImageError."""
        return tuple(_index(row, architecture) for row in self.releases(codename))

    def select(self, codename: str, architecture: str, names: frozenset[str]) -> dict[str, Package]:
        """The newest version of each of ``names`` over all indices; names that are nowhere are left out.

        Raises BaseImageError, HashMismatch.
        """
        return newest(self.rows(codename, architecture, names), architecture)

    def rows(self, codename: str, architecture: str, names: frozenset[str]) -> tuple[Package, ...]:
        """Everything that the indices say of ``names``, the suite itself first."""
        found: list[Package] = []
        for archive, where, chunks in self._files(codename, architecture):
            try:
                found.extend(packages(chunks, names, archive))
            except BadIndex as problem:
                raise BaseImageError(f"an index cannot be used: {problem}", where=where) from None
        return tuple(found)

    def index(self, codename: str, architecture: str) -> PackageIndex:
        """All packages, for closures over dependencies; read once. Raises BaseImageError, HashMismatch."""
        with self._index_lock:
            key = (codename, architecture)
            if key not in self._packages:
                files = ((archive, chunks) for archive, _, chunks in self._files(codename, architecture))
                self._packages[key] = PackageIndex(files, architecture)
            return self._packages[key]

    def contents(self, codename: str, architecture: str) -> Iterator[bytes]:
        """The suite's list of all files of all packages. Raises BaseImageError, HashMismatch."""
        signed = self.releases(codename)[0]
        path = f"main/Contents-{architecture}.gz"
        row = signed.release.file(path)
        if row is None:
            raise BaseImageError(f"the suite {codename} has no {path}", where=without_user(signed.base + "InRelease"))
        yield from _text(gunzip(self._indexed(signed, row)), without_user(signed.base + path))

    def _files(self, codename: str, architecture: str) -> Iterator[tuple[str, str, Iterator[bytes]]]:
        """The ``Packages`` files: the archive's codename, where the file is, and its text."""
        for signed in self.releases(codename):
            row = _index(signed, architecture)
            where = without_user(signed.base + row.path)
            yield signed.release.codename, where, _text(unxz(self._indexed(signed, row)), where)

    def _indexed(self, signed: SignedRelease, index: IndexFile) -> bytes:
        folder = signed.base + index.path.rpartition("/")[0]
        urls = [signed.base + index.path]
        if signed.release.by_hash:
            # A mirror that is being updated may have another file under the plain name already.
            urls.insert(0, f"{folder}/by-hash/SHA256/{index.sha256}")
        for url in urls[:-1]:
            try:
                return self._verified(url, index.sha256, index.size, index.path)
            except NotFound:
                continue
        try:
            return self._verified(urls[-1], index.sha256, index.size, index.path)
        except NotFound:
            raise BaseImageError(
                f"the mirror does not have the index {index.path}", where=without_user(urls[-1])
            ) from None

    def package(self, package: Package) -> bytes:
        """The bytes of a package. Raises HashMismatch, NotFound, BaseImageError."""
        main, security = self._roots()
        url = f"{security if package.archive.endswith('-security') else main}/{package.filename}"
        return self._verified(url, package.sha256, package.size, f"{package.name} {package.version}")

    def pinned(
        self,
        codename: str,
        architecture: str,
        pin: tuple[str, str, str],
        *,
        names: frozenset[str],
        largest: int,
    ) -> bytes | None:
        """A package by (name, version, sha256), also one that no index names any more; None if it is gone.

        It is looked for beside the package's present versions. ``names`` are all that will be asked for, so that
        the indices are read once; ``largest`` is the most bytes that are read. Raises HashMismatch, BaseImageError.
        """
        name, version, sha256 = pin
        rows = [row for row in self._known(codename, architecture, names) if row.name == name]
        for row in rows:
            if row.sha256 == sha256:
                with contextlib.suppress(NotFound):
                    return self.package(row)
        folders = dict.fromkeys(row.filename.rpartition("/")[0] for row in rows)
        for folder in list(folders):
            plain = folder.removeprefix("pool/updates/").removeprefix("pool/")
            folders |= {f"pool/{plain}": None, f"pool/updates/{plain}": None}
        for folder in folders:
            for kind in dict.fromkeys(row.architecture for row in rows):
                path = f"{folder}/{name}_{without_epoch(version)}_{kind}.deb"
                for root in self._roots():
                    with contextlib.suppress(NotFound):
                        url = f"{root}/{path}"
                        data = self._read(url, largest)
                        _check(data, sha256, None, f"{name} {version}", without_user(url))
                        return data
        return None

    def _known(self, codename: str, architecture: str, names: frozenset[str]) -> tuple[Package, ...]:
        with self._pin_lock:
            key = (codename, architecture, names)
            if key not in self._rows:
                # What a closure has read already need not be read again.
                index = self._packages.get((codename, architecture))
                try:
                    found = None if index is None else [row for name in sorted(names) for row in index.versions(name)]
                except BadIndex as problem:
                    raise BaseImageError(f"the index of {codename} cannot be used: {problem}") from None
                self._rows[key] = self.rows(codename, architecture, names) if found is None else tuple(found)
            return self._rows[key]

    def _verified(self, url: str, sha256: str, size: int, name: str) -> bytes:
        data = self._read(url, size)
        _check(data, sha256, size, name, without_user(url))
        return data

    def _read(self, url: str, limit: int) -> bytes:
        """The whole body. A connection that breaks is tried again; a body that is too large is refused."""
        for attempt in range(_ATTEMPTS):
            parts: list[bytes] = []
            size = 0
            try:
                for chunk in self._download(url):
                    size += len(chunk)
                    if size > limit:
                        raise HashMismatch(
                            f"the mirror sent more than the {limit} bytes expected", where=without_user(url)
                        )
                    parts.append(chunk)
            except BaseImageError:
                if attempt + 1 == _ATTEMPTS or not parts:
                    raise
                continue
            return b"".join(parts)
        raise AssertionError("every way out of the loop returns or raises")


def _check(data: bytes, sha256: str, size: int | None, name: str, where: str) -> None:
    if size is not None and len(data) != size:
        raise HashMismatch(f"{name} has {len(data)} bytes, expected {size}", where=where)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise HashMismatch(f"{name} has the sha256 {found}, expected {sha256}", where=where)


def _index(signed: SignedRelease, architecture: str) -> IndexFile:
    path = f"main/binary-{architecture}/Packages.xz"
    found = signed.release.file(path)
    if found is None or "main" not in signed.release.components:
        raise BaseImageError(
            f"the suite {signed.release.codename} has no packages for {architecture}",
            where=without_user(signed.base + "InRelease"),
        )
    return found


def _text(chunks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """An index's text as it comes; what is wrong with it is the mirror's."""
    try:
        yield from chunks
    except BadIndex as problem:
        raise BaseImageError(f"an index cannot be read: {problem}", where=where) from None
