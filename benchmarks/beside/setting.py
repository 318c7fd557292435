"""Everything the cases need, made once: bases, wheels, projects, registries, engines. What fails is noted."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from beside.machine import Clock, Failed, run
from beside.projects import (
    CHANGED,
    PACKAGES,
    QUICK,
    QUICK_CHANGED,
    QUICK_SECOND,
    SECOND,
    Maker,
    Project,
    big_wheel,
    gather,
    pure_wheels,
    torch_wheel,
)
from beside.services import DOCKER, Engine, Index, Registry, certificate, outside
from beside.sides import DPBUILD, Sides, plain_environment

PEER = Path(__file__).parent.parent / "peer" / "Dockerfile"
_LEAST_FREE = 12e9


class Setting:
    """What all rounds share. ``say`` tells progress."""

    def __init__(self, tmp: Path, clock: Clock, say: Callable[[str], None], *, quick: bool, wanted: set[str]) -> None:
        self.tmp = tmp
        self.clock = clock
        self.quick = quick
        self.notes: list[str] = []
        self.checked = ""
        self.versions: dict[str, str] = {}
        self.say = say
        self._wanted = wanted
        self._host = outside()
        self._reasons: dict[str, str] = {}
        self._projects: dict[str, Project] = {}
        self._bases: dict[str, str] = {}
        self._warm: set[str] = set()
        self._secure: tuple[Registry, Path] | None = None
        self._other: Engine | None = None
        self.registry = Registry(tmp / "registry")
        self.engine = Engine(tmp / "e", clock, insecure=(f"{self._host}/32",))
        self.index = Index(tmp / "index")
        self.base = f"{self.registry.address}/base:1"
        self.bumped = f"{self.registry.address}/base:bumped"
        self._builder = f"{self.registry.address}/builder:1"

    def note(self, text: str) -> None:
        """For the table; and at once on stderr."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"note: {text}")

    # making everything

    def prepare(self) -> None:
        """Raises Failed where nothing can be measured, and OutOfTime."""
        self.registry.start()
        self.engine.start()
        if not self.engine.own:
            self.note(
                "only root with dockerd can have an engine of its own; memory, disk and pulls of the Dockerfile's side "
                "are not measured"
            )
        first = {**os.environ, "DPBUILD_CACHE_DIR": str(self.tmp / "gathered")}
        self.say("composing the base, and a builder with uv for the Dockerfile")
        self._compose(first, "debian13", self.base, self._builder)
        self.say("downloading wheels")
        self._gather()
        self.index.publish()
        store = self.tmp / "store"
        self.sides = Sides(
            plain_environment(store, self.index.url),
            self.engine,
            self.index.url,
            {self.base: self._builder, self.bumped: self._builder, self._base12: self._builder12},
            self.clock,
        )
        self._dockerfile = self._linked()
        self._make()
        self.registry.keep()
        self._tell()

    @property
    def _base12(self) -> str:
        return f"{self.registry.address}/base12:1"

    @property
    def _builder12(self) -> str:
        return f"{self.registry.address}/builder12:1"

    def _compose(self, env: dict[str, str], suite: str, base: str, builder: str) -> None:
        words: list[object] = [*DPBUILD, "base", "compose", f"{suite}:nonroot", "--platform", "linux/amd64", "-q"]
        run([*words, "-t", base, "--push"], self.clock, env=env, what="dpbuild base compose")
        tool = self.tmp / f"builder-{suite}"
        tool.mkdir()
        (tool / "pyproject.toml").write_text(
            '[project]\nname = "builder"\nversion = "1"\ndependencies = ["uv"]\n[tool.dpbuild]\n'
            f'base = "compose:{suite}:debug"\nplatforms = ["linux/amd64"]\napp = "none"\nbytecode = false\n'
        )
        words = [*DPBUILD, "build", tool, "-t", builder, "--push", "-q"]
        run(words, self.clock, env=env, what="making the Dockerfile's builder image")
        for image in (base, builder):
            self.engine.docker("pull", "-q", image)

    def _gather(self) -> None:
        main, (old, new), (without, more) = (
            (QUICK, QUICK_CHANGED, QUICK_SECOND) if self.quick else (PACKAGES, CHANGED, SECOND)
        )
        sets = {
            "plain": main,
            "changed": tuple(new if row == old else row for row in main),
            "second": (*(row for row in main if row not in without), *more),
        }
        self._sets = gather(self.tmp, sets, self.base, self.index, self.clock, self.note)
        if "plain" not in self._sets:
            raise Failed("none of the packages can be had from the package index that is configured")
        self.say("making up wheels")
        count, size = (20, 4_000_000) if self.quick else (300, 700_000_000)
        self._pure = pure_wheels(self.index.wheels, count)
        if "big" in self._wanted:
            self._sets["big"] = (big_wheel(self.index.wheels, size),)
        if "torch" in self._wanted:
            self._torch()

    def _torch(self) -> None:
        """A wheel from the folders that pip is configured to look into."""
        try:
            said = os.environ.get("PIP_FIND_LINKS", "").split()
            folders = [Path(row) for row in said if Path(row).is_dir()]
            found = torch_wheel(folders, {"cp313": self.base, "cp311": self._base12})
            if found is None or self.quick:
                raise Failed("no torch wheel for CPU lies in a folder of PIP_FIND_LINKS" if not found else "--quick")
            path, base = found
            env = {**os.environ, "DPBUILD_CACHE_DIR": str(self.tmp / "gathered")}
            if base == self._base12:
                self.say("composing debian12, whose Python is that of torch's wheel")
                self._compose(env, "debian12", base, self._builder12)
            version = path.name.split("-")[1]
            wanted, links = {"torch": (f"torch=={version}",)}, (str(path.parent.absolute()),)
            self._sets |= gather(self.tmp, wanted, base, self.index, self.clock, self.note, links)
            self._bases["torch"] = base
        except Failed as problem:
            self._reasons["torch"] = str(problem)

    def _linked(self) -> str:
        """The Dockerfile, with ``COPY --link`` where the engine's frontend knows it."""
        folder = self.tmp / "probe"
        folder.mkdir()
        (folder / "a").write_text("a")
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY --link a /a\n")
        words = [DOCKER, "build", "-q", folder]
        done = subprocess.run(words, env=self.engine.env, capture_output=True, check=False)
        text = PEER.read_text()
        if done.returncode:
            self.versions["COPY --link"] = "not known to this engine's frontend"
            return text
        self.versions["COPY --link"] = "used"
        return text.replace("COPY --from=build", "COPY --link --from=build").replace("COPY app", "COPY --link app")

    def _make(self) -> None:
        self.say("locking the projects")
        maker = Maker(self.tmp, self.sides.env, self.clock, self._dockerfile)
        self._maker = maker
        plain = self._sets["plain"]
        wanted: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
            "plain": (plain, {}),
            "compiled": (plain, {"bytecode": True}),
            "bumped": (plain, {}),
            "few": (self._pure[:3], {}),
            "many": (self._pure, {}),
        }
        wanted |= {name: (self._sets[name], {}) for name in ("changed", "second", "big", "torch") if name in self._sets}
        for name, (packages, keys) in wanted.items():
            try:
                base = self._bases.get(name, self.base)
                self._projects[name] = maker.make(name, packages, base, **keys)
                # The base and the wheels are at hand afterwards.
                words = [*DPBUILD, "build", self._projects[name].folder, "-q", "-o", self.tmp / "warm"]
                run(words, self.clock, env=self.sides.env, what=f"dpbuild build of {name}")
            except Failed as problem:
                self._projects.pop(name, None)
                self._reasons[name] = str(problem)
        if "plain" not in self._projects:
            raise Failed(self._reasons["plain"])
        self.index.publish()

    def _tell(self) -> None:
        uv = run(
            [DOCKER, "run", "--rm", "--network", "none", self._builder, "-m", "uv", "--version"],
            self.clock,
            env=self.engine.env,
        ) if self.engine.own else ""  # fmt: skip
        self.versions |= {
            "dpbuild": run([*DPBUILD, "--version"], self.clock).split()[-1],
            "Docker engine": self.engine.docker("version", "--format", "{{.Server.Version}}").strip(),
            "Docker client": self.engine.docker("version", "--format", "{{.Client.Version}}").strip(),
            "storage driver": self.engine.docker("info", "--format", "{{.Driver}}").strip(),
            "uv": (uv.split() or ["", "?"])[1],
            "docker-registry": run(["docker-registry", "--version"], self.clock).split()[-1],
            "unpigz": "yes" if shutil.which("unpigz") else "no",
        }
        rows = [path for path in self.index.wheels.glob("*.whl") if not path.name.startswith(("part_", "big_wheel"))]
        self.versions["wheels"] = f"{len(rows)}, {sum(path.stat().st_size for path in rows) / 1e6:.0f} MB"

    # what the cases ask for

    def project(self, name: str) -> Project:
        """Raises Failed with the reason if it could not be made."""
        if name not in self._projects:
            raise Failed(self._reasons.get(name) or f"the project {name!r} could not be made")
        return self._projects[name]

    def base_of(self, name: str) -> str:
        return self._bases.get(name, self.base)

    def warm(self, name: str) -> None:
        """uv's cache has the wheels of this project. Raises Failed, OutOfTime."""
        if shutil.disk_usage(self.tmp).free < _LEAST_FREE and self.engine.own:
            self.engine.docker("builder", "prune", "-af")
            self._warm.clear()
        if shutil.disk_usage(self.tmp).free < _LEAST_FREE / (10 if self.quick else 2):
            raise Failed(f"the disk of {self.tmp.parent} has too little room")
        if name not in self._warm:
            self.say(f"filling uv's cache for {name}")
            self.sides.warm(self.project(name), self.base_of(name))
            self._warm.add(name)

    def secure(self) -> tuple[Registry, Path]:
        """A registry with TLS, and the CA that vouches for it. Raises Failed, OutOfTime."""
        if self._secure is None:
            ca, *pair = certificate(self.tmp / "tls", self._host, self.clock)
            if self._host == "127.0.0.1":
                self.note("this machine has no address but loopback, where dpbuild tries http before TLS")
            registry = Registry(self.tmp / "tls-registry", self._host, (pair[0], pair[1]))
            registry.start()
            self._secure = registry, ca
        return self._secure

    def other_engine(self) -> Engine:
        """A second engine of our own, which has nothing. Raises Failed."""
        if self._other is None:
            self._other = Engine(self.tmp / "f", self.clock, insecure=(f"{self._host}/32",))
            self._other.start(required=True)
        return self._other

    def bump(self, project: Project, mark: str) -> None:
        """Put a newer base with the same Python into the registry, and lock it; dpbuild's store has not seen it."""
        folder = self.tmp / "bump"
        folder.mkdir(exist_ok=True)
        (folder / "mark").write_text(mark)
        (folder / "Dockerfile").write_text(f"FROM {self.base}\nCOPY mark /etc/base-version\n")
        self.engine.docker("build", "-q", "-t", self.bumped, folder)
        self.engine.docker("push", "-q", self.bumped)
        project.configure(base=self.bumped)
        env = {**self.sides.env, "DPBUILD_CACHE_DIR": str(self.tmp / "elsewhere")}
        self._maker.lock(project, "--upgrade-base", env=env)

    def close(self) -> None:
        """End every program."""
        for engine in (self.engine, self._other):
            if engine is not None:
                engine.stop()
        for registry in (self.registry, self._secure[0] if self._secure else None):
            if registry is not None:
                registry.stop()
