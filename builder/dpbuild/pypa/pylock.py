"""Lock files (PyPA specs, "pylock.toml", PEP 751): their values, and reading and writing them.

Knows nothing of ``[tool]`` but that it is there; what dpbuild keeps in it is the lock stage's concern.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast
from urllib.parse import unquote, urlsplit

from dpbuild.errors import LockError
from dpbuild.frozen import field, frozen
from dpbuild.pypa import normalized

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_VERSION = "1.0"
Table = Mapping[str, object]


@frozen
class LockedFile:
    """A wheel or sdist: exactly one of ``url`` and ``path`` is set; ``sha256`` is lower-case hex.

    A relative ``path`` is relative to the lock's folder. ``size`` is in bytes.
    """

    name: str
    sha256: str
    url: str = ""
    path: str = ""
    size: int | None = None


@frozen
class LockedPackage:
    """One distribution at one version. ``name`` is normalised (PEP 503); ``marker`` is "" for always.

    ``unsupported`` says why the package cannot be had as a wheel or sdist ("it comes from a folder: m2").
    """

    name: str
    version: str
    marker: str = ""
    wheels: tuple[LockedFile, ...] = ()
    sdist: LockedFile | None = None
    unsupported: str = ""


@frozen
class Document:
    """A whole lock file; ``tool`` is the ``[tool]`` table as TOML gives it."""

    packages: tuple[LockedPackage, ...]
    requires_python: str = ""
    environments: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    dependency_groups: tuple[str, ...] = ()
    default_groups: tuple[str, ...] = ()
    created_by: str = "dpbuild"
    tool: Table = field(default_factory=dict, hashed=False)


def _parse(text: str) -> Table:
    import tomllib

    return tomllib.loads(text)


def loads(text: str, where: str = "pylock.toml", parse: Callable[[str], Table] = _parse) -> Document:
    """Read a lock file; ``parse`` reads TOML as ``tomllib.loads`` does. Raises LockError that names the key, with
    ``where`` as its file.
    """
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise LockError("the lock is damaged: it is not UTF-8", where=where)
    try:
        document = parse(text)
    except ValueError as error:
        raise LockError(f"the lock is not valid TOML: {error}", where=where) from None
    read = Reader(where)
    version = read.text(document, "lock-version", "")
    if not re.fullmatch(r"1\.\d+", version):
        raise LockError(f"the lock has version {version!r}; 1.0 can be read", where=where)
    return Document(
        packages=tuple(
            _package(read, row, f"packages[{number}]")
            for number, row in enumerate(read.tables(document, "packages", ""))
        ),
        requires_python=read.text(document, "requires-python", "", default=""),
        environments=read.texts(document, "environments", ""),
        extras=read.texts(document, "extras", ""),
        dependency_groups=read.texts(document, "dependency-groups", ""),
        default_groups=read.texts(document, "default-groups", ""),
        created_by=read.text(document, "created-by", ""),
        tool=read.table(document, "tool", ""),
    )


class Reader:
    """Reads typed values out of TOML tables. Every error is a LockError that names the key."""

    def __init__(self, where: str) -> None:
        self._where = where

    def fail(self, path: str, expected: str) -> LockError:
        """The error for a key that is not what it must be."""
        return LockError(f"the lock is damaged: {path} must be {expected}", where=self._where)

    def text(self, table: Table, key: str, path: str, *, default: str | None = None) -> str:
        """A string; required unless there is a default."""
        value = table.get(key, default)
        if not isinstance(value, str):
            raise self.fail(_join(path, key), "a string")
        return value

    def texts(self, table: Table, key: str, path: str) -> tuple[str, ...]:
        """An array of strings, empty if it is not there."""
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(row, str) for row in value):
            raise self.fail(_join(path, key), "an array of strings")
        return tuple(cast("list[str]", value))

    def table(self, table: Table, key: str, path: str) -> Table:
        """A table, empty if it is not there."""
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self.fail(_join(path, key), "a table")
        return cast("Table", value)

    def tables(self, table: Table, key: str, path: str) -> list[Table]:
        """An array of tables, empty if it is not there."""
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self.fail(_join(path, key), "an array of tables")
        return cast("list[Table]", value)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _package(read: Reader, row: Table, path: str) -> LockedPackage:
    name = normalized(read.text(row, "name", path))
    wheels = [
        _file(read, wheel, f"{path}.wheels[{number}]") for number, wheel in enumerate(read.tables(row, "wheels", path))
    ]
    unsupported = ""
    if "vcs" in row:
        unsupported = (
            f"it comes from {read.text(read.table(row, 'vcs', path), 'type', path, default='version control')}"
        )
    elif "directory" in row:
        folder = read.text(read.table(row, "directory", path), "path", path, default="")
        unsupported = f"it comes from a folder: {folder}"
    elif "archive" in row:
        archive = _file(read, read.table(row, "archive", path), f"{path}.archive")
        if archive.name.endswith(".whl"):
            wheels.append(archive)
        else:
            unsupported = f"it comes from an archive that is not a wheel: {archive.name}"
    return LockedPackage(
        name=name,
        version=read.text(row, "version", path, default=""),
        marker=read.text(row, "marker", path, default=""),
        wheels=tuple(wheels),
        sdist=_file(read, read.table(row, "sdist", path), f"{path}.sdist") if "sdist" in row else None,
        unsupported=unsupported,
    )


def _file(read: Reader, row: Table, path: str) -> LockedFile:
    url, local = read.text(row, "url", path, default=""), read.text(row, "path", path, default="")
    if not url and not local:
        raise read.fail(path, "a table with url or path")
    if url and local:
        local = ""
    sha256 = read.text(read.table(row, "hashes", path), "sha256", f"{path}.hashes", default="").lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise read.fail(f"{path}.hashes.sha256", "64 hexadecimal digits")
    size = row.get("size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise read.fail(f"{path}.size", "a number of bytes")
    return LockedFile(
        name=read.text(row, "name", path, default="") or basename(url or local),
        sha256=sha256,
        url=url,
        path=local,
        size=size,
    )


def basename(location: str) -> str:
    """The file name at the end of a URL or path."""
    if "://" in location:
        location = unquote(urlsplit(location).path)
    return location.rpartition("/")[2]


def dumps(document: Document) -> str:
    """The text of a lock file: sorted, and the same for equal values."""
    head: dict[str, object] = {"lock-version": _VERSION}
    head |= {"environments": document.environments} if document.environments else {}
    head |= {"requires-python": document.requires_python} if document.requires_python else {}
    for key, rows in (
        ("extras", document.extras),
        ("dependency-groups", document.dependency_groups),
        ("default-groups", document.default_groups),
    ):
        head |= {key: rows} if rows else {}
    lines = [*_rows({**head, "created-by": document.created_by})]
    if not document.packages:
        # Required by the spec, also when it is empty.
        lines.append("packages = []")
    for package in sorted(document.packages, key=lambda row: (row.name, row.version, row.marker)):
        lines += ["", "[[packages]]"]
        row: dict[str, object] = {"name": package.name, "version": package.version}
        row |= {"marker": package.marker} if package.marker else {}
        row |= {"sdist": _file_row(package.sdist)} if package.sdist else {}
        files = sorted(package.wheels, key=lambda file: (file.name, file.sha256))
        row |= {"wheels": [_file_row(file) for file in files]} if files else {}
        lines += _rows(row)
    lines += _tables(document.tool, "tool")
    return "\n".join(lines) + "\n"


def _file_row(file: LockedFile) -> dict[str, object]:
    location = file.url or file.path
    row: dict[str, object] = {} if basename(location) == file.name else {"name": file.name}
    row |= {"url": file.url} if file.url else {"path": file.path}
    row |= {} if file.size is None else {"size": file.size}
    return {**row, "hashes": {"sha256": file.sha256}}


def _tables(table: Table, path: str) -> list[str]:
    """The table and those below it, each under its own header; arrays of tables get ``[[…]]`` headers."""
    lines: list[str] = []
    plain = {key: value for key, value in table.items() if not _nested(value)}
    if plain:
        lines += ["", f"[{path}]", *_rows(plain)]
    for key, value in table.items():
        name = f"{path}.{_key(key)}"
        if isinstance(value, Mapping):
            lines += _tables(cast("Table", value), name)
        elif _nested(value):
            for row in cast("Sequence[Table]", value):
                lines += ["", f"[[{name}]]", *_rows({k: v for k, v in row.items() if not isinstance(v, Mapping)})]
                for inner, inner_table in row.items():
                    if isinstance(inner_table, Mapping):
                        lines += _tables(cast("Table", inner_table), f"{name}.{_key(inner)}")
    return lines


def _nested(value: object) -> bool:
    """Whether a value has headers of its own: a table, or an array of tables that hold tables in turn."""
    if isinstance(value, Mapping):
        return True
    if not _tables_only(value):
        return False
    inner = [inner for row in cast("Sequence[Table]", value) for inner in row.values()]
    return any(isinstance(row, Mapping) or _tables_only(row) for row in inner)


def _tables_only(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _rows(table: Table) -> list[str]:
    return [f"{_key(key)} = {_value(value, lines=True)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are a subset of those of TOML's basic strings; TOML also wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object, *, lines: bool = False) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _string(value)
        case Mapping():
            inner = ", ".join(f"{_key(str(key))} = {_value(row)}" for key, row in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            rows = [_value(row) for row in value]
            if lines and rows and (len(rows) > 1 or isinstance(value[0], Mapping)):
                return "[\n" + "".join(f"    {row},\n" for row in rows) + "]"
            return f"[{', '.join(rows)}]"
        case _:
            raise TypeError(f"not a value of a lock: {type(value).__name__}")
