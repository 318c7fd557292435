"""The cases: what each side has to begin with, and what is then built and pushed."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from beside.machine import Failed, Sample, remove
from beside.services import Engine, Registry
from beside.setting import Setting

Pair = tuple[Sample, Sample]


class Round:
    """One pass over the cases, in a registry that begins with the bases and nothing else."""

    def __init__(self, setting: Setting, number: int) -> None:
        self.s = setting
        self.number = number
        self._built: set[str] = set()
        self._cold: Sample | None = None
        setting.registry.reset()
        setting.sides.watched = number == 0

    def _tag(self, side: str, name: str, registry: Registry | None = None) -> str:
        return f"{(registry or self.s.registry).address}/{side}/{name}:1"

    def _pair(
        self, name: str, *, cold: bool = False, bytecode: bool = False, repo: str = "", flags: tuple[str, ...] = ()
    ) -> Pair:
        """Both sides, one after the other; which one begins changes from round to round."""
        s, project = self.s, self.s.project(name)
        repo = repo or name

        def ours() -> Sample:
            return s.sides.ours(project, self._tag("ours", repo), s.registry, *flags)

        def peer() -> Sample:
            return s.sides.peer(
                project, self._tag("peer", repo), s.registry, s.base_of(name), cold=cold, bytecode=bytecode
            )

        if self.number % 2:
            second, first = peer(), ours()
        else:
            first, second = ours(), peer()
        self._built.add(repo)
        return first, second

    def _ensure(self, name: str) -> None:
        """Both sides have built and pushed it, unmeasured if it was not measured."""
        if name not in self._built:
            self.s.warm(name)
            watched, self.s.sides.watched = self.s.sides.watched, False
            self._pair(name)
            self.s.sides.watched = watched

    # the cases

    def cold(self) -> list[Pair]:
        self.s.warm("plain")
        self.s.sides.forget()
        first, second = self._pair("plain", cold=True)
        self._cold = second
        if self.number == 0:
            self._same_program("plain")
        return [(first, second)]

    def bare(self) -> list[Pair]:
        """Against the Dockerfile's cold build of this round."""
        if self._cold is None:
            self.cold()
        project = self.s.project("plain")
        before = project.save()
        try:
            (project.folder / "pyproject.toml").write_text(
                before["pyproject.toml"] + '[tool.dpbuild.check]\nignore = ["ALL"]\n'
            )
            self.s.sides.forget()
            found = self.s.sides.ours(project, self._tag("ours", "bare"), self.s.registry, "--no-evidence")
        finally:
            project.put(before)
            # What the next cases begin with.
            self.s.sides.ours(project, self._tag("ours", "plain"), self.s.registry)
        assert self._cold is not None
        return [(found, self._cold)]

    def bytecode(self) -> list[Pair]:
        self.s.warm("compiled")
        self.s.sides.forget()
        return [self._pair("compiled", cold=True, bytecode=True)]

    def nothing(self) -> list[Pair]:
        self._ensure("plain")
        self._pair("plain")
        return [self._pair("plain") for _ in range(3)]

    def _nothing_of(self, name: str, registry: Registry, env: dict[str, str] | None = None) -> list[Pair]:
        s, project, found = self.s, self.s.project(name), []
        s.warm(name)
        ours, peer = self._tag("ours", name, registry), self._tag("peer", name, registry)
        for number in range(5):
            row = (
                s.sides.ours(project, ours, registry, env=env),
                s.sides.peer(project, peer, registry, s.base_of(name)),
            )
            # The first ones are what is there later.
            found += [row] if number > 1 else []
        return found

    def few_http(self) -> list[Pair]:
        return self._nothing_of("few", self.s.registry)

    def many_http(self) -> list[Pair]:
        return self._nothing_of("many", self.s.registry)

    def _secure(self, name: str) -> list[Pair]:
        registry, ca = self.s.secure()
        return self._nothing_of(name, registry, {**self.s.sides.env, "SSL_CERT_FILE": str(ca)})

    def few_tls(self) -> list[Pair]:
        return self._secure("few")

    def many_tls(self) -> list[Pair]:
        return self._secure("many")

    def line(self) -> list[Pair]:
        self._ensure("plain")
        found = []
        for number in range(3):
            self.s.project("plain").edit(f"{self.number} {number} {time.time()}")
            found.append(self._pair("plain"))
        return found

    def dependency(self) -> list[Pair]:
        """Another version of one package. The changed wheel is at hand on both sides; its layer is not."""
        project, other = self.s.project("plain"), self.s.project("changed")
        self.s.warm("changed")
        if self.number or "plain" not in self._built:
            # The layer that an earlier round made is forgotten.
            self.s.sides.forget()
            self.s.sides.ours(project, self._tag("ours", "plain"), self.s.registry)
        self._ensure("plain")
        before = project.save()
        try:
            wanted = other.save()
            wanted["pyproject.toml"] = wanted["pyproject.toml"].replace('name = "changed"', 'name = "plain"')
            project.put(wanted)
            project.touch(f"{self.number} {time.time()}")
            return [self._pair("plain")]
        finally:
            project.put(before)

    def second(self) -> list[Pair]:
        self._ensure("plain")
        self.s.warm("second")
        project = self.s.project("second")
        project.touch(f"{self.number} {time.time()}")
        return [self._pair("second")]

    def bumped(self) -> list[Pair]:
        self._ensure("plain")
        project = self.s.project("bumped")
        self.s.warm("bumped")
        self.s.bump(project, f"{self.number} {time.time()}")
        # The Dockerfile's side has built this with the base before.
        watched, self.s.sides.watched = self.s.sides.watched, False
        self.s.sides.peer(project, self._tag("peer", "bumped"), self.s.registry, self.s.base)
        self.s.sides.watched = watched
        first = self.s.sides.ours(project, self._tag("ours", "bumped"), self.s.registry)
        return [(first, self.s.sides.peer(project, self._tag("peer", "bumped"), self.s.registry, self.s.bumped))]

    def _cold_of(self, name: str) -> list[Pair]:
        self.s.project(name)
        self.s.warm(name)
        self.s.sides.forget()
        return [self._pair(name, cold=True)]

    def big(self) -> list[Pair]:
        return self._cold_of("big")

    def pure(self) -> list[Pair]:
        return self._cold_of("many")

    def torch(self) -> list[Pair]:
        return self._cold_of("torch")

    def empty(self) -> list[Pair]:
        s, project = self.s, self.s.project("plain")
        s.project("plain")
        engine = s.other_engine()
        store = s.tmp / "empty-store"
        remove(store)
        env = {**s.sides.env, "DPBUILD_CACHE_DIR": str(store)}
        try:
            first = s.sides.ours(project, self._tag("ours", "empty"), s.registry, env=env)
            second = s.sides.peer(project, self._tag("peer", "empty"), s.registry, s.base, engine=engine, cold=True)
        finally:
            remove(store)
            _empty(engine)
        # The registry also sent the base.
        return [(replace(first, sent=None), replace(second, sent=None))]

    def _pull(self, *, pigz: bool) -> list[Pair]:
        s = self.s
        if pigz and not shutil.which("unpigz"):
            raise Failed("there is no unpigz (Debian's package pigz)")
        self._ensure("plain")
        engine = s.other_engine()
        engine.restart(pigz=pigz)
        found: list[Sample] = []
        order = ["ours", "peer"] if self.number % 2 == 0 else ["peer", "ours"]
        for side in order:
            used = engine.used()
            began = time.monotonic()
            engine.docker("pull", "-q", self._tag(side, "plain"))
            seconds = time.monotonic() - began
            now = engine.used()
            found.append(Sample(seconds=seconds, kept=None if used is None or now is None else now - used))
            _empty(engine)
        if order[0] == "peer":
            found.reverse()
        return [(found[0], found[1])]

    def pull_pigz(self) -> list[Pair]:
        return self._pull(pigz=True)

    def pull_plain(self) -> list[Pair]:
        return self._pull(pigz=False)

    def _same_program(self, name: str) -> None:
        """Both images run, and find the same distributions; what is compared must be the same."""
        engine = self.s.engine
        said = []
        for side in ("ours", "peer"):
            tag = self._tag(side, name)
            try:
                engine.docker("pull", "-q", tag)
                said.append(
                    engine.docker("run", "--rm", "--network", "none", tag, what=f"running {side}/{name}").strip()
                )
            except Failed as problem:
                self.s.note(f"the images were not run: {problem}")
                return
        if said[0] != said[1]:
            self.s.note(f"the images differ: dpbuild's prints {said[0]!r}, the Dockerfile's {said[1]!r}")
        else:
            self.s.checked = f"Both images were run and print the same ({said[0].split()[0]} distributions)."


def _empty(engine: Engine) -> None:
    """Leave nothing in an engine of our own."""
    images = engine.docker("images", "-q").split()
    if images:
        engine.docker("rmi", "-f", *dict.fromkeys(images))
    engine.docker("builder", "prune", "-af")


@dataclass(frozen=True)
class Case:
    """``goal`` is how many times faster; ``seconds`` what both sides take together on two cores, as a first guess.

    ``extra`` cases wait for the others, and leave them the time for a second round; ``inner`` pairs are measured in
    each round.
    """

    key: str
    title: str
    measure: Callable[[Round], list[Pair]]
    seconds: float
    goal: float | None = None
    extra: bool = False
    inner: int = 1


CASES = (
    Case("cold", "cold, wheels at hand, no bytecode", Round.cold, 70, 15),
    Case("nothing", "nothing changed", Round.nothing, 6, 2.5, inner=3),
    Case("line", "one app line changed", Round.line, 8, 3, inner=3),
    Case("dependency", "one dependency changed", Round.dependency, 80, 50),
    Case("second", "second project sharing 90 %", Round.second, 60, 20),
    Case("bumped", "base bumped, same Python", Round.bumped, 100, extra=True),
    Case("pull", "pull by Docker, with unpigz", Round.pull_pigz, 40, 1 / 1.15),
    Case("pull-plain", "pull by Docker, without unpigz", Round.pull_plain, 45, 1 / 1.15),
    Case("bytecode", "cold, bytecode on both sides", Round.bytecode, 120, 3),
    Case("bare", "cold, without proof and evidence", Round.bare, 20),
    Case("big", "one wheel of 700 MB unpacked", Round.big, 120, 10),
    Case("pure", "cold, 300 pure-Python packages", Round.pure, 40, extra=True),
    Case("few-http", "nothing changed, 3 dependencies, http", Round.few_http, 10, 2.5, inner=3),
    Case("many-http", "nothing changed, 300 dependencies, http", Round.many_http, 20, 2.5, inner=3),
    Case("few-tls", "nothing changed, 3 dependencies, TLS", Round.few_tls, 10, inner=3),
    Case("many-tls", "nothing changed, 300 dependencies, TLS", Round.many_tls, 20, inner=3),
    Case("empty", "empty machine, wheels downloaded", Round.empty, 100, extra=True),
    Case("torch", "torch for CPU, cold", Round.torch, 240, extra=True),
)
