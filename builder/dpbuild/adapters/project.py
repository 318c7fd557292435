"""The project's folder on disk."""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpbuild.adapters.sink.files import replacing
from dpbuild.adapters.trace import Trace, same
from dpbuild.built import DEFAULT_OUTPUT
from dpbuild.errors import ConfigError
from dpbuild.frozen import asdict
from dpbuild.model.files import Committed, ProjectFile
from dpbuild.ports.project import NOTHING

if TYPE_CHECKING:
    from dpbuild.adapters.git import Git

# Where the image goes if nothing else is said.
_OWN, _IMAGE = DEFAULT_OUTPUT.split("/")
_LOCKS: Final = ("pylock.dpbuild.toml", "pylock.dpbuild-build.toml")
# What may lie in another folder: that of the workspace which the project is a member of.
_SHARED: Final = "uv.lock"


class DiskProject:
    """The project on disk (``ports/project.py``). ``env`` is what git is run with.

    ``written`` are the files and folders that this run writes; those in the project are no part of it. ``note`` tells
    the user, once, what is left out though no rule of theirs says so.
    """

    def __init__(
        self,
        directory: Path,
        env: dict[str, str],
        written: Iterable[Path] = (),
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._path = directory
        self._notes: list[str] = []

        def told(text: str) -> None:
            self._notes.append(text)
            note(text)

        self._note = functools.cache(told)
        names = (os.path.relpath(os.path.realpath(path), directory.resolve()) for path in written)
        self._own = frozenset(name for name in names if name != "." and not name.startswith("../"))
        self._trace = Trace()
        self._env = env
        # What git was asked, and what it said.
        self._asked: dict[str, Any] | None = None

    @property
    def directory(self) -> str:
        """Its absolute path."""
        return str(self._path)

    def read(self, name: str) -> str | None:
        """A text file, or None; the ``uv.lock`` of a member of a workspace is the workspace's."""
        path = self._locate(name)
        try:
            data = path.read_bytes()
            self._trace.file(self._name(path), hashlib.sha256(data).hexdigest())
            # A lock that is damaged is the lock's error, whatever the damage: its reader finds what stands for bytes.
            errors = "surrogateescape" if name in _LOCKS else "strict"
            return data.decode(errors=errors).replace("\r\n", "\n").replace("\r", "\n")
        except (FileNotFoundError, NotADirectoryError):
            self._trace.absent(self._name(path))
            return None
        except UnicodeDecodeError:
            raise ConfigError("the file is not UTF-8", where=str(path)) from None
        except OSError as problem:
            raise ConfigError(f"cannot read the file: {problem.strerror}", where=str(path)) from None

    def exact(self, name: str) -> str | None:
        """As ``read``, but with the ends of lines as they are."""
        text = self.read(name)
        if text is None:
            return None
        with self._locate(name).open(encoding="utf-8", newline="") as file:
            return file.read()

    def _locate(self, name: str) -> Path:
        path = self._path / name
        if name != _SHARED or path.exists():
            return path
        from dpbuild.adapters import workspace

        self._trace.absent(name)
        return workspace.workspace_lock(self._path, self._above) or path

    def _above(self, path: Path) -> str | None:
        """A file above the project, or None where it is not there or is no text."""
        try:
            data = path.read_bytes()
            self._trace.file(self._name(path), hashlib.sha256(data).hexdigest())
            return data.decode()
        except (OSError, UnicodeDecodeError):
            self._trace.absent(self._name(path))
            return None

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._path)

    def write(self, name: str, text: str) -> bool:
        """Replace a text file at once; False if the project is read-only. A symbolic link stays one."""
        path = Path(os.path.realpath(self._path / name))
        try:
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            with replacing(path, mode) as file:
                file.write(text.encode())
        except OSError:
            return False
        self._trace.file(name, hashlib.sha256(text.encode()).hexdigest())
        return True

    def shelter(self) -> None:
        """Write ``.gitignore`` into the folder of the default output, if nothing but dpbuild's is in there."""
        folder = self._path / _OWN
        with contextlib.suppress(OSError):
            others = [row.name for row in os.scandir(folder) if row.name != _IMAGE and not row.name.startswith(".")]
            if not others and not (folder / ".gitignore").exists():
                with replacing(folder / ".gitignore", 0o644) as file:
                    file.write(b"# Made by dpbuild.\n*\n")

    def app_files(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """What a copied app consists of."""
        from dpbuild.adapters.project_files import collect

        return collect(self._path, include, exclude, self._trace, self._own, self._note)

    def build_files(self) -> tuple[ProjectFile, ...]:
        """What a build backend gets to see."""
        from dpbuild.adapters.project_files import build_tree

        return build_tree(self._path, self._trace, self._own, self._note)

    def named(self, sources: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """The files and folders that configuration names."""
        from dpbuild.adapters.project_files import named

        return named(self._path, sources, self._trace, self._own)

    def lacking(self, source: str) -> str:
        """Why ``named`` would refuse a name, or ""."""
        from dpbuild.adapters.project_files import lacking

        return lacking(self._path, source)

    def seen(self) -> dict[str, Any]:
        """What was read so far, as JSON: ``still`` tells whether a later run would read the same."""
        return self._trace.value() | {"commit": self._asked, "notes": self._notes}

    def still(self, seen: dict[str, Any]) -> bool:
        """Whether everything that ``seen`` tells is as it was, by content."""
        if not same(self._path, seen, self._own):
            return False
        asked = seen["commit"]
        if asked is None:
            return True
        # The same commit says the same of the same files, and another one may.
        if asked["state"] and self._git is not None and [*self._git.state()] == asked["state"]:
            self._asked = asked
            return True
        return bool(asdict(self.committed(asked["files"], asked["ignorable"], asked["packed"])) == asked["said"])

    @functools.cached_property
    def _git(self) -> "Git | None":
        """What asks git; None where there is no repository."""
        if not any((folder / ".git").exists() for folder in (self._path, *self._path.parents)):
            return None
        from dpbuild.adapters.git import Git

        return Git(self._path, self._env)

    def committed(
        self, files: Collection[str], ignorable: Mapping[str, str] = NOTHING, packed: Collection[str] = ()
    ) -> Committed:
        """What git says of these files."""
        # What dpbuild itself writes is no part of the app, and must not make the next build another one.
        own = (_OWN, *_LOCKS, *sorted(self._own))
        git = self._git
        said = Committed() if git is None else git.committed(frozenset(files), ignorable, frozenset(packed), own)
        self._asked = {
            "files": sorted(files),
            "ignorable": dict(ignorable),
            "packed": sorted(packed),
            "state": [] if git is None else [*git.state()],
            "said": asdict(said),
        }
        return said
