"""Wheels from the store: opened, checked, and mapped to the files that they become in the image."""

import hashlib
import posixpath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from dpbuild.archive import zip as strict_zip
from dpbuild.archive.deflate import Splicer
from dpbuild.errors import UnsafeWheel
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.facts import Facts
from dpbuild.stages.layers.content import Archived, Content, Data

if TYPE_CHECKING:
    from dpbuild.pypa.wheel import Wheel

# A text file of a wheel that is read whole is smaller than this; METADATA carries whole manuals at times.
_LARGEST_TEXT = 64 * 1024 * 1024
_METADATA = ("WHEEL", "METADATA", "RECORD", "entry_points.txt")


class Planned(NamedTuple):
    """One file in the image; a tuple, since there are as many as wheels have members.

    ``path`` is without leading slash, before the base's symbolic links are followed.
    ``identity`` is equal for equal contents; ``owner`` is the wheel it comes from. With a ``target`` it is a
    symbolic link.
    """

    path: str
    mode: int
    content: Content
    identity: tuple[str, bytes]
    owner: str
    script: bool = False
    target: str = ""


@frozen(kw_only=False)
class OpenWheel:
    """A wheel that was read and found to be sound, its contents not yet."""

    artifact: Artifact
    wheel: "Wheel"
    contents: dict[str, Archived]
    modes: dict[str, int]

    def text(self, name: str, splicer: Splicer) -> bytes:
        """A small file of its ``.dist-info`` folder; b"" where there is none."""
        found = self.contents.get(f"{self.wheel.dist_info}/{name}")
        return b"" if found is None else found.data(splicer)


class Reader:
    """A wheel's bytes at an offset; one thread at a time.

    ``file`` may be closed and another one of the same wheel be put in its place between two uses, so that a wheel that
    is listed first and written later need not be open, nor be read as a zip again, meanwhile.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def __getstate__(self) -> dict[str, object]:
        """For another process, which opens the wheel itself."""
        return {}

    def __call__(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes. Raises ValueError if the file is closed."""
        self.file.seek(offset)
        return self.file.read(size)


def read_by(reader: Reader, planned: Planned) -> Planned:
    """The same file, read by another reader of its wheel."""
    content = planned.content
    return planned._replace(content=content._replace(read=reader)) if isinstance(content, Archived) else planned


def open_wheel(artifact: Artifact, file: BinaryIO | Reader, splicer: Splicer) -> OpenWheel:
    """Read a wheel's directory and metadata. ``file`` stays open as long as the result is used.

    Raises UnsafeWheel (53) for everything that readers could see differently or that the spec forbids.
    """
    from dpbuild.pypa.wheel import WheelError, metadata_members
    from dpbuild.pypa.wheel import read as read_wheel

    read = file if isinstance(file, Reader) else Reader(file)
    label = artifact.filename
    try:
        entries = {entry.name: entry for entry in strict_zip.members(read, artifact.size)}
        sizes = {name: entry.size for name, entry in entries.items()}
        dist_info, _ = metadata_members(artifact.filename, sizes)
        metadata = {}
        for name in _METADATA:
            entry = entries.get(f"{dist_info}/{name}")
            if entry is not None:
                if entry.size > _LARGEST_TEXT:
                    raise WheelError(f"its {name} has {entry.size} bytes")
                metadata[entry.name] = Archived(read, entry, "", b"", label, join=False).data(splicer)
        wheel = read_wheel(artifact.filename, sizes, metadata)
    except (strict_zip.ZipError, WheelError) as problem:
        raise UnsafeWheel(
            f"{label}: {problem}",
            hint="the wheel is broken, or different tools would unpack it differently; choose another version",
        ) from None
    contents = {
        row.member: Archived(read, entries[row.member], row.algorithm, row.digest, label, artifact.locked)
        for row in wheel.files
    }
    modes = {name: entry.mode for name, entry in entries.items()}
    return OpenWheel(artifact, wheel, contents, modes)


def plan(opened: OpenWheel, facts: Facts, splicer: Splicer) -> list[Planned]:
    """Every file that installing the wheel makes, its RECORD and scripts included. Raises UnsafeWheel."""
    from dpbuild.pypa import scripts

    wheel = opened.wheel
    owner = f"{wheel.name} {wheel.version}"
    headers = posixpath.join(facts.headers, wheel.project)
    roots = {
        "purelib": facts.purelib,
        "platlib": facts.purelib,
        "scripts": facts.scripts,
        "data": facts.data,
        "headers": headers,
    }
    planned: dict[str, Planned] = {}

    def put(path: str, mode: int, content: Content, identity: tuple[str, bytes], *, script: bool = False) -> None:
        key = path.lstrip("/")
        before = planned.get(key)
        if before is not None and before.identity != identity:
            raise UnsafeWheel(f"{opened.artifact.filename}: two of its files become {path}")
        planned[key] = Planned(path=key, mode=mode, content=content, identity=identity, owner=owner, script=script)

    for row in wheel.files:
        content: Content = opened.contents[row.member]
        identity = (row.algorithm, row.digest)
        mode = 0o755 if opened.modes[row.member] & 0o111 or row.scheme == "scripts" else 0o644
        if row.scheme == "scripts":
            data = opened.contents[row.member].data(splicer)
            changed = scripts.with_shebang(data, facts.interpreter)
            if changed != data:
                content, identity = _data(changed)
        put(
            posixpath.join(roots[row.scheme], row.path),
            mode,
            content,
            identity,
            script=row.scheme == "scripts",
        )
    try:
        points = scripts.entry_points(wheel.entry_points)
    except ValueError as problem:
        raise UnsafeWheel(f"{opened.artifact.filename}: {problem}") from None
    for point in points:
        content, identity = _data(scripts.text(point, facts.interpreter))
        put(posixpath.join(facts.scripts, point.name), 0o755, content, identity, script=True)
    content, identity = _data(b"dpbuild\n")
    put(posixpath.join(facts.purelib, wheel.dist_info, "INSTALLER"), 0o644, content, identity)
    return [planned[path] for path in sorted(planned)]


def complete(
    planned: list[Planned], compiled: tuple[tuple[str, bytes], ...], dist_info: str, facts: Facts
) -> list[Planned]:
    """The plan with compiled files (absolute paths in the image) and with RECORD as an installer writes it:
    relative to the site directory, everything but itself with a hash.
    """
    from dpbuild.pypa import record

    by_path = {each.path: each for each in planned}
    owner = planned[0].owner
    for path, data in compiled:
        _put_data(by_path, path, data, owner)
    path = posixpath.join(facts.purelib, dist_info, "RECORD")
    site = facts.purelib.strip("/") + "/"

    def relative(path: str) -> str:
        return path[len(site) :] if path.startswith(site) else posixpath.relpath("/" + path, facts.purelib)

    rows = [
        record.Row(
            path=relative(each.path),
            algorithm=each.identity[0],
            digest=each.identity[1],
            size=each.content.size,
        )
        for each in by_path.values()
    ]
    rows.append(record.Row(path=relative(path.lstrip("/"))))
    _put_data(by_path, path, record.render(rows), owner)
    return [by_path[key] for key in sorted(by_path)]


def _put_data(by_path: dict[str, Planned], path: str, data: bytes, owner: str) -> None:
    content, identity = _data(data)
    key = path.lstrip("/")
    by_path[key] = Planned(path=key, mode=0o644, content=content, identity=identity, owner=owner)


def _data(data: bytes) -> tuple[Data, tuple[str, bytes]]:
    return Data(data), ("sha256", hashlib.sha256(data).digest())
