"""What a build saw of the project: enough to tell later, by content, that a build would see the same."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

# What dpbuild and Python themselves write into a project says nothing about it.
_OWN: Final = frozenset({".dpbuild", "__pycache__", "pylock.dpbuild.toml", "pylock.dpbuild-build.toml"})
_ABSENT: Final = "-"


# What a killed run may leave of a lock that it was writing.
_UNFINISHED: Final = re.compile(r"\.pylock\.dpbuild(-build)?\.toml\.\w+(\.new)?")


def is_own(folder: str, name: str, own: frozenset[str]) -> bool:
    """Whether dpbuild writes what has this name in a folder of the project, to one of ``own`` or on the way to it."""
    if _UNFINISHED.fullmatch(name):
        return True
    inner = f"{folder}/" if folder not in ("", ".") else ""
    finished = re.sub(r"^\.(.+?)(\.[a-z0-9_]{8})?\.new$", r"\1", name)
    return f"{inner}{name}" in own or f"{inner}{finished}" in own


class Trace:
    """Collects what is seen; paths are relative to the project."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def file(self, path: str, digest: str, mode: int | None = None) -> None:
        """The content of a file, by sha256; and whether it is executable, where that was looked at."""
        self._files[path] = digest if mode is None else f"{'x' if mode & 0o111 else 'f'}{digest}"

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._files[path] = f"l{target}"

    def absent(self, path: str) -> None:
        """A file that was looked for."""
        self._files[path] = _ABSENT

    def folder(self, path: str, names: Iterable[str]) -> None:
        """The names in a folder; that of a folder ends with a slash."""
        self._folders[path] = _names(names)

    def value(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {"files": self._files, "folders": self._folders}


def same(directory: Path, value: dict[str, Any], own: frozenset[str] = frozenset()) -> bool:
    """Whether all of it is still so; ``own`` as for ``is_own``."""
    return all(_listing(directory, path, own) == seen for path, seen in value["folders"].items()) and all(
        _look(directory / path, seen) == seen for path, seen in value["files"].items()
    )


def _names(names: Iterable[str]) -> str:
    kept = sorted(name for name in names if name.rstrip("/") not in _OWN)
    return hashlib.sha256("\0".join(kept).encode("utf-8", "surrogateescape")).hexdigest()


def _listing(directory: Path, folder: str, own: frozenset[str]) -> str | None:
    try:
        with os.scandir(directory / folder) as found:
            rows = [row for row in found if not is_own(folder, row.name, own)]
            return _names(f"{row.name}/" if row.is_dir(follow_symlinks=False) else row.name for row in rows)
    except OSError:
        return None


def _look(path: Path, seen: str) -> str | None:
    """What ``seen`` would be now."""
    try:
        if seen.startswith("l"):
            return f"l{path.readlink()}"
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if seen[:1] not in ("x", "f") or len(seen) == len(digest):
            return digest
        found = path.lstat().st_mode
        return None if stat.S_ISLNK(found) else f"{'x' if found & 0o111 else 'f'}{digest}"
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    except OSError:
        return None
