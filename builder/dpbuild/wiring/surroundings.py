"""The process around dpbuild: environment, clock, host, store, project."""

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpbuild.adapters.reporter import Mode, StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import ConfigError, OutputError
from dpbuild.frozen import frozen
from dpbuild.oci.platform import Platform

if TYPE_CHECKING:
    from dpbuild.adapters.helper import ProcessHelper
    from dpbuild.adapters.project import DiskProject
    from dpbuild.adapters.upkeep import Upkeep


@frozen
class Settings:
    """What the common options say."""

    cache_dir: Path | None = None
    offline: bool = False
    plain_http: bool = False
    progress: str = "auto"


class Surroundings:
    """What is there without a network."""

    def __init__(self, settings: Settings, environment: dict[str, str] | None = None) -> None:
        self._settings = settings
        self._env = dict(os.environ) if environment is None else environment
        self._home = self._env.get("HOME") or str(Path.home())
        self._directory = Path()

    @functools.cached_property
    def reporter(self) -> StreamReporter:
        """Progress, on stderr."""
        mode: Mode
        match self._settings.progress:
            case "auto":
                mode = "live" if sys.stderr.isatty() and self._env.get("TERM", "") != "dumb" else "plain"
            case "json":
                mode = "json"
            case "none":
                mode = "none"
            case _:
                mode = "plain"
        return StreamReporter(sys.stderr, time.monotonic, mode)

    def helper(self) -> "ProcessHelper":
        """Another process, started. Raises OSError where none can be."""
        from dpbuild.adapters.helper import ProcessHelper

        return ProcessHelper(self.store)

    def clock(self) -> float:
        """Seconds from anywhere."""
        return time.monotonic()

    @property
    def cores(self) -> int:
        """How many processors dpbuild may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def host(self) -> Platform:
        """The platform that dpbuild runs on."""
        return Platform.parse(f"linux/{os.uname().machine.lower()}")

    @property
    def epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH, in seconds. Raises ConfigError if it is no number."""
        text = self._env.get("SOURCE_DATE_EPOCH", "")
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise ConfigError(f"SOURCE_DATE_EPOCH is not a number of seconds: {text!r}")
        return int(text)

    @functools.cached_property
    def cache(self) -> Path:
        """Where the store is."""
        if self._settings.cache_dir is not None:
            return self._settings.cache_dir.absolute()
        home = self._env.get("XDG_CACHE_HOME") or f"{self._home}/.cache"
        return Path(home) / "dpbuild"

    @property
    def has_store(self) -> bool:
        """Whether there is a store already."""
        return self.cache.is_dir()

    @functools.cached_property
    def store(self) -> DiskStore:
        """The store."""
        return DiskStore(self.cache, self.reporter.note)

    @property
    def upkeep(self) -> "Upkeep":
        """What counts and removes what the store has."""
        from dpbuild.adapters.upkeep import Upkeep
        from dpbuild.adapters.uv import find_uv, prune_cache

        def tidy(folder: Path) -> None:
            prune_cache(find_uv(self._env.get("PATH", "")), folder, self._env)

        return Upkeep(self.cache, time.time, self.reporter.note, tidy)

    def close(self) -> None:
        """Say that the store is needed no more."""
        store = self.__dict__.get("store")
        if isinstance(store, DiskStore):
            store.close()

    def project(self, directory: Path, written: Iterable[Path] = ()) -> "DiskProject":
        """The project's folder; what this run writes is no part of it, wherever it lies."""
        from dpbuild.adapters.project import DiskProject

        self._directory = directory
        kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
        env = {name: self._env[name] for name in kept if name in self._env}
        return DiskProject(directory, {**env, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}, written, self.reporter.note)

    def write_json(self, path: Path, value: dict[str, Any]) -> None:
        """Write a JSON file at once. Raises OutputError."""
        self.write_file(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file at once. Raises OutputError."""
        temporary = path.with_name(f".{path.name}.new")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException as problem:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if isinstance(problem, OSError):
                raise OutputError(f"cannot write the file: {problem.strerror}", where=str(path)) from None
            raise
