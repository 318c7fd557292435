"""One wheel from one source: its build requirements locked and hashed, built once, kept by what it was made from."""

import hashlib
import json
from collections.abc import Callable

from dpbuild.errors import LockStale
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Project
from dpbuild.model.facts import Facts
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.model.target import Target
from dpbuild.oci.codec import canonical
from dpbuild.oci.digest import Digest
from dpbuild.ports.backend import Backend, Source
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.resolver import Resolver
from dpbuild.ports.store import Store
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages.buildlock import NAME, RENEW
from dpbuild.stages.lock import build_stale, make_build_lock
from dpbuild.stages.repair import VERSION as REPAIR
from dpbuild.stages.repair import needed
from dpbuild.stages.select import ANY, select

# Raise this when the same source and requirements may give another wheel.
VERSION = 2
# PEP 517: requirements of a project that names none; PEP 518 has the same for a missing [build-system].
_DEFAULT = ("setuptools",)

Fetch = Callable[[Lock], tuple[Artifact, ...]]


def requires(project: Project) -> tuple[str, ...]:
    """The requirements that the project names for its backend (PEP 518); one that lies in the project needs none."""
    return project.build_requires if project.build_backend else project.build_requires or _DEFAULT


@frozen
class Work:
    """A source and what builds it; its answers are kept by everything that they depend on.

    ``content`` stands for the source; ``fetch`` brings the wheels of a lock of build requirements, built where there
    are none; ``metadata_of`` says what such a one requires. ``find_links`` and ``directory`` are the configuration's.
    ``repair`` puts into a wheel what it needs of the builder, by tools that are wheels; None where nobody asks for it.
    """

    title: str
    project: Project
    source: Source
    content: str
    facts: Facts
    target: Target
    backend: Backend
    resolver: Resolver
    fetch: Fetch
    store: Store
    reporter: Reporter
    find_links: tuple[str, ...] = ()
    directory: str = "."
    metadata_of: Callable[[LockedPackage], Metadata] | None = None
    repair: Callable[[Artifact, tuple[Artifact, ...]], Artifact] | None = None

    def lock(self, previous: Lock | None, *, locked: bool) -> Lock:
        """The lock of the build requirements: ``previous`` itself if it holds, which with ``locked`` it must.

        Raises LockStale (42), NoCompatibleWheel (52) for a build requirement, SdistBuildFailed (54).
        """
        static = tuple(dict.fromkeys(requires(self.project)))
        if previous is not None:
            reason = self._stale(previous, static)
            if reason is None:
                return previous
            if locked:
                what = f"the lock of what {self.title} is built with is stale: {reason}"
                raise LockStale(what, where=NAME, hint=RENEW)
        elif locked:
            raise LockStale(f"there is no lock of what {self.title} is built with", where=NAME, hint=RENEW)
        new = self._resolved(static, previous)
        every = tuple(dict.fromkeys((*static, *self.requires(new))))
        return new if set(every) == set(static) else self._resolved(every, new)

    def _stale(self, lock: Lock, static: tuple[str, ...]) -> str | None:
        """Why the lock is not for this source; None if it is. The backend is asked only where it can be in the lock."""
        known = dict(lock.input_values).get("requirements", ())
        before = known if {*known}.issuperset(static) else static
        reason = build_stale(lock, before, self.target, self.find_links)
        if reason is not None:
            return reason
        every = tuple(dict.fromkeys((*static, *self.requires(lock))))
        return build_stale(lock, every, self.target, self.find_links)

    def _resolved(self, lines: tuple[str, ...], before: Lock | None) -> Lock:
        return make_build_lock(
            lines,
            self.target,
            self.resolver,
            find_links=self.find_links,
            directory=self.directory,
            previous=before,
            metadata=self.metadata_of,
        )

    def chosen(self, lock: Lock) -> tuple[tuple[LockedPackage, LockedFile], ...]:
        """The build requirements and the file of each. Raises NoCompatibleWheel (52)."""
        return select(lock.packages, self.target, allow_sdist=ANY, where=NAME)

    def key(self, what: str, lock: Lock) -> str:
        """Everything that an answer depends on."""
        wheels = self._hashes(lock)
        backend = [self.project.build_backend, list(self.project.backend_path), self.backend.identity]
        value = [VERSION, self.content, backend, wheels, self.facts.interpreter_sha256, self.facts.interpreter]
        return f"{what} {hashlib.sha256(canonical(value)).hexdigest()}"

    def _hashes(self, lock: Lock) -> list[str]:
        files = [file for _, file in self.chosen(lock)]
        built = any(not file.name.endswith(".whl") for file in files)
        # An sdist may give another wheel when something that it is built with changes.
        return sorted(row.digest.hex for row in self.fetch(lock)) if built else sorted(row.sha256 for row in files)

    def requires(self, lock: Lock) -> tuple[str, ...]:
        """What the backend itself asks for, on top of what the project names."""
        key = self.key("requires", lock)
        kept = self.store.get("app", key)
        if kept is not None:
            return tuple(json.loads(kept))
        found = self.backend.requires(self.project, self.source, self.fetch(lock))
        self.store.put("app", key, canonical(list(found)))
        return found

    def metadata(self, lock: Lock) -> str:
        """METADATA as the backend makes it."""
        key = self.key("metadata", lock)
        kept = self.store.get("app", key)
        if kept is not None:
            return kept.decode()
        with self.reporter.step(f"asking {self.title} what it requires on {self.target.platform}"):
            found = self.backend.metadata(self.project, self.source, self.fetch(lock))
        self.store.put("app", key, found.encode())
        return found

    def wheel(self, lock: Lock) -> Artifact:
        """The wheel, built unless the store has it."""
        key = self.key("wheel", lock)
        found = self._kept(key)
        if found is not None:
            return found
        wheels = self.fetch(lock)
        return self._once(key, "building", lambda: self.backend.build(self.project, self.source, wheels))

    def repaired(self, wheel: Artifact, lock: Lock) -> Artifact:
        """The wheel with the libraries that it needs of the builder inside, if it needs any; ``lock`` is of the tools.

        Raises SdistBuildFailed (54), UnsafeWheel (53).
        """
        repair = self.repair
        if repair is None or not needed(wheel.filename):
            return wheel
        builder = [self.backend.identity, self.facts.interpreter_sha256, self.facts.interpreter, str(self.facts.libc)]
        value = [REPAIR, wheel.digest.hex, builder, self._hashes(lock)]
        key = f"repaired {hashlib.sha256(canonical(value)).hexdigest()}"
        found = self._kept(key)
        if found is not None:
            return found
        tools = self.fetch(lock)
        return self._once(key, "repairing", lambda: repair(wheel, tools))

    def _once(self, key: str, word: str, make: Callable[[], Artifact]) -> Artifact:
        with self.store.alone("app", key):
            # Another run may have made it meanwhile.
            found = self._kept(key)
            if found is not None:
                return found
            with self.reporter.step(f"{word} {self.title}") as step:
                made = make()
                step.done(made.filename)
            row = [made.name, made.version, made.filename, made.digest.hex, made.size, *made.inside]
            self.store.put("app", key, canonical(row))
        return made

    def _kept(self, key: str) -> Artifact | None:
        kept = self.store.get("app", key)
        if kept is None:
            return None
        name, version, filename, digest, size, *inside = json.loads(kept)
        if not self.store.has(Digest(digest)):
            return None
        return Artifact(
            name=name,
            version=version,
            filename=filename,
            digest=Digest(digest),
            size=size,
            locked=False,
            inside=tuple((package, number, sha256) for package, number, sha256 in inside),
        )
