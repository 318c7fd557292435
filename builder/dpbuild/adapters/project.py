"""The project's folder on disk."""

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from dpbuild.adapters import workspace
from dpbuild.adapters.project_files import build_tree, collect, lacking, named
from dpbuild.adapters.sink.files import replacing
from dpbuild.adapters.trace import Trace, same
from dpbuild.errors import ConfigError
from dpbuild.model.files import ProjectFile

_LOCKS: Final = ("pylock.dpbuild.toml", "pylock.dpbuild-build.toml")


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
        self._env = env
        self._note = functools.cache(note)
        names = (os.path.relpath(os.path.realpath(path), directory.resolve()) for path in written)
        self._own = frozenset(name for name in names if name != "." and not name.startswith("../"))
        self._trace = Trace()
        self._commit: tuple[tuple[str, int] | None] | None = None

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
        if name != workspace.LOCK or path.exists():
            return path
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

    def app_files(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """What a copied app consists of."""
        return collect(self._path, include, exclude, self._trace, self._own, self._note)

    def build_files(self) -> tuple[ProjectFile, ...]:
        """What a build backend gets to see."""
        return build_tree(self._path, self._trace, self._own, self._note)

    def named(self, sources: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """The files and folders that configuration names."""
        return named(self._path, sources, self._trace, self._own)

    def lacking(self, source: str) -> str:
        """Why ``named`` would refuse a name, or ""."""
        return lacking(self._path, source)

    def seen(self) -> dict[str, Any]:
        """What was read so far, as JSON: ``still`` tells whether a later run would read the same."""
        return self._trace.value() | {"commit": None if self._commit is None else [*self._commit]}

    def still(self, seen: dict[str, Any]) -> bool:
        """Whether everything that ``seen`` tells is as it was, by content."""
        if not same(self._path, seen, self._own):
            return False
        commit = self.commit() if seen["commit"] is not None else None
        return seen["commit"] is None or seen["commit"] == [None if commit is None else [*commit]]

    def commit(self) -> tuple[str, int] | None:
        """The last commit of the folder and its time, if the folder is exactly what it holds."""
        self._commit = (self._clean_commit(),)
        return self._commit[0]

    def _clean_commit(self) -> tuple[str, int] | None:
        if not any((folder / ".git").exists() for folder in (self._path, *self._path.parents)):
            return None
        # What dpbuild itself writes is no part of the app, and must not make the next build another one.
        names = (".dpbuild", *_LOCKS, *sorted(self._own))
        own = (f":(exclude,literal){name}" for name in names)
        status = self._git("status", "--porcelain", "--", ".", *own)
        if status is None or status.strip():
            return None
        commit, _, time = (self._git("log", "-1", "--format=%H %ct", "--", ".") or "").strip().partition(" ")
        return (commit, int(time)) if time.isdigit() else None

    def _git(self, *arguments: str) -> str | None:
        import subprocess

        try:
            done = subprocess.run(
                ["git", "-C", str(self._path), *arguments],  # noqa: S607 - git is where the user has it
                env=self._env,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout if done.returncode == 0 else None
