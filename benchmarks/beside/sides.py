"""The two sides: a build and a push by dpbuild, and by the Dockerfile."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from beside.machine import Clock, Sample, disk, run, timed, watching
from beside.services import DOCKER, Engine, Registry

if TYPE_CHECKING:
    from beside.projects import Project

DPBUILD = (sys.executable, "-m", "dpbuild")


def plain_environment(store: Path, index: str) -> dict[str, str]:
    """What dpbuild sees: its own store, and the benchmark's index in place of what this machine is configured for."""
    # An installed dpbuild has its bytecode; one that runs from a checkout is to write it.
    other = ("UV_", "PIP_", "DPBUILD_", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    own = {"DPBUILD_CACHE_DIR": str(store), "UV_DEFAULT_INDEX": index, "PIP_CONFIG_FILE": os.devnull}
    mirrors = {name: value for name, value in os.environ.items() if name.startswith("DPBUILD_DEBIAN_")}
    local = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1")))
    return {**kept, **mirrors, **own, "NO_PROXY": local, "no_proxy": local}


class Sides:
    """``watched``: also measure memory by looking all the while, and disk; once is enough, and looking takes time."""

    def __init__(self, env: dict[str, str], engine: Engine, index: str, builders: dict[str, str], clock: Clock) -> None:
        self.env = env
        self.engine = engine
        self.watched = True
        self._index = index
        self._builders = builders
        self._clock = clock

    @property
    def store(self) -> Path:
        return Path(self.env["DPBUILD_CACHE_DIR"])

    def ours(
        self, project: "Project", tag: str, registry: Registry, *flags: str, env: dict[str, str] | None = None
    ) -> Sample:
        """``dpbuild build --push``. Raises Failed, OutOfTime."""
        env = env or self.env
        store = Path(env["DPBUILD_CACHE_DIR"])
        kept, sent = disk(store) if self.watched else 0, registry.written()
        words: list[object] = [*DPBUILD, "build", project.folder, "-t", tag, "--push", "-q", *flags]
        seconds, memory = timed(words, self._clock, env, f"dpbuild build of {project.name}", watched=self.watched)
        return Sample(
            seconds=seconds,
            memory=memory,
            sent=registry.written() - sent,
            kept=disk(store) - kept if self.watched else None,
        )

    def peer(
        self,
        project: "Project",
        tag: str,
        registry: Registry,
        base: str,
        *,
        cold: bool = False,
        bytecode: bool = False,
        engine: Engine | None = None,
    ) -> Sample:
        """``docker build`` and ``docker push``. Raises Failed, OutOfTime."""
        engine = engine or self.engine
        used, sent = engine.used() if self.watched else None, registry.written()
        seen: list[int] = []
        with watching(engine.pids if self.watched else [], seen):
            began = time.monotonic()
            self._docker(engine, project, base, ["-t", tag], cold=cold, bytecode=bytecode)
            built = time.monotonic()
            engine.docker("push", "-q", tag, what=f"docker push of {project.name}")
            done = time.monotonic()
        now = engine.used() if used is not None else None
        return Sample(
            seconds=done - began,
            memory=seen[0] if seen else None,
            sent=registry.written() - sent,
            kept=now - used if now is not None and used is not None else None,
            parts={"build": built - began, "push": done - built},
        )

    def warm(self, project: "Project", base: str) -> None:
        """Fill uv's cache, which the Dockerfile keeps in a cache mount. Raises Failed, OutOfTime."""
        self._docker(self.engine, project, base, ["--target", "build"], cold=False, bytecode=False)

    def _docker(
        self, engine: Engine, project: "Project", base: str, words: list[str], *, cold: bool, bytecode: bool
    ) -> None:
        values = {"BASE": base, "BUILDER": self._builders[base], "INDEX": self._index, "SITE": project.site}
        values |= {"COMPILE": "--compile-bytecode"} if bytecode else {}
        words = [*words, *(word for row in values.items() for word in ("--build-arg", "=".join(row)))]
        words += ["--no-cache"] if cold else []
        command = [DOCKER, "build", "-q", "--network", "host", *words, project.folder]
        run(command, self._clock, env=engine.env, what=f"docker build of {project.name}")

    def forget(self) -> None:
        """Everything but wheels and bases: what a cold build with wheels at hand finds. Raises Failed, OutOfTime."""
        for kind in ("layers", "facts"):
            words = [*DPBUILD, "cache", "clean", "--only", kind, "-q"]
            run(words, self._clock, env=self.env, what="dpbuild cache clean")
