"""Wheels, as in the PyPA spec "Binary distribution format": what a wheel's files are and where they belong."""

from collections.abc import Mapping
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.pypa import record
from dpbuild.pypa.headers import Headers

_SCHEMES: Final = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
# The spec: these three are not listed with a hash, the signatures not at all.
_UNLISTED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")


class WheelError(ValueError):
    """The wheel is not what the spec says."""


@frozen
class WheelFile:
    """One file of a wheel: its name in the archive, the scheme it belongs to, its path in there, its hash."""

    member: str
    scheme: str
    path: str
    algorithm: str
    digest: bytes


@frozen
class Wheel:
    """What a wheel says of itself. ``name`` is normalised, ``project`` as written in its metadata."""

    name: str
    project: str
    version: str
    tags: frozenset[str]
    dist_info: str
    files: tuple[WheelFile, ...]
    entry_points: str


def name_and_version(filename: str) -> tuple[str, str]:
    """Normalised name and version of a wheel file name. Raises WheelError."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion

    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as problem:
        raise WheelError(str(problem)) from None
    return str(name), str(version)


def metadata_members(filename: str, names: Mapping[str, object]) -> tuple[str, str]:
    """The wheel's ``.dist-info`` and ``.data`` folders ("" where there is no such one). Raises WheelError.

    ``names`` are those of all files in the archive.
    """
    name, version = name_and_version(filename)
    tops = {member.partition("/")[0] for member in names if "/" in member}
    found = [top for top in sorted(tops) if top.endswith(".dist-info")]
    if len(found) != 1:
        raise WheelError(f"it has {len(found)} .dist-info folders instead of one")
    _same(found[0].removesuffix(".dist-info"), name, version, found[0])
    data = [top for top in sorted(tops) if top.endswith(".data")]
    if len(data) > 1:
        raise WheelError(f"it has {len(data)} .data folders: {', '.join(data)}")
    if data:
        _same(data[0].removesuffix(".data"), name, version, data[0])
    return found[0], data[0] if data else ""


def _same(stem: str, name: str, version: str, folder: str) -> None:
    project, _, number = stem.rpartition("-")
    if not _agree(project, number, name, version):
        raise WheelError(f"its folder {folder} does not belong to {name} {version}")


def _agree(project: str, number: str, name: str, version: str) -> bool:
    """Whether a name and a version, as written, are those; ``name`` is normalised."""
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    try:
        return canonicalize_name(project) == name and Version(number) == Version(version)
    except InvalidVersion:
        return False


def read(filename: str, names: Mapping[str, int], metadata: Mapping[str, bytes]) -> Wheel:
    """What a wheel consists of. Raises WheelError.

    ``names`` maps every file in the archive to its size in bytes; ``metadata`` holds the contents of WHEEL,
    METADATA, RECORD and entry_points.txt (those that are there) by their names in the archive.
    """
    name, version = name_and_version(filename)
    dist_info, data = metadata_members(filename, names)
    for needed in ("WHEEL", "METADATA", "RECORD"):
        if f"{dist_info}/{needed}" not in metadata:
            raise WheelError(f"it has no {dist_info}/{needed}")
    wheel = _headers(metadata[f"{dist_info}/WHEEL"])
    form = wheel.first("Wheel-Version")
    if form.partition(".")[0] != "1":
        raise WheelError(f"its Wheel-Version is {form or 'missing'}, not 1.x")
    about = _headers(metadata[f"{dist_info}/METADATA"])
    project, number = about.first("Name"), about.first("Version")
    if not _agree(project, number, name, version):
        raise WheelError(f"its METADATA says {project} {number}, its file name {name} {version}")
    root = "purelib" if wheel.first("Root-Is-Purelib").lower() == "true" else "platlib"
    points = metadata.get(f"{dist_info}/entry_points.txt", b"")
    try:
        rows = record.parse(metadata[f"{dist_info}/RECORD"].decode())
        text = points.decode()
    except UnicodeDecodeError:
        raise WheelError("its RECORD or entry_points.txt is not UTF-8") from None
    except ValueError as problem:
        raise WheelError(str(problem)) from None
    return Wheel(
        name=name,
        project=project,
        version=version,
        tags=frozenset(wheel.every("Tag")),
        dist_info=dist_info,
        files=tuple(_files(names, rows, dist_info, data, root)),
        entry_points=text,
    )


def _files(
    names: Mapping[str, int], rows: Mapping[str, record.Row], dist_info: str, data: str, root: str
) -> list[WheelFile]:
    unlisted = {f"{dist_info}/{name}" for name in _UNLISTED}
    files = []
    for member in sorted(names):
        if member in unlisted:
            continue
        row = rows.get(member)
        if row is None:
            raise WheelError(f"RECORD does not list {member}")
        if not row.algorithm:
            raise WheelError(f"RECORD has no hash for {member}")
        if row.size is not None and row.size != names[member]:
            raise WheelError(f"RECORD says {row.size} bytes for {member}, the archive {names[member]}")
        scheme, path = root, member
        if data and member.startswith(f"{data}/"):
            scheme, slash, path = member[len(data) + 1 :].partition("/")
            if scheme not in _SCHEMES or not slash:
                raise WheelError(f"{member} belongs to no scheme of the spec")
        files.append(WheelFile(member=member, scheme=scheme, path=path, algorithm=row.algorithm, digest=row.digest))
    missing = sorted(path for path in rows if path not in names and not path.endswith("/"))
    if missing:
        raise WheelError(f"RECORD lists {missing[0]}, which is not in it")
    return files


def requires(metadata: bytes) -> tuple[str, ...]:
    """The ``Requires-Dist`` lines of a METADATA file."""
    return _headers(metadata).every("Requires-Dist")


def _headers(data: bytes) -> Headers:
    return Headers(data.decode("utf-8", "replace"))
