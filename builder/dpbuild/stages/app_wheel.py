"""The app as a wheel: its build requirements locked and hashed, built once, and kept by what it was made from."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dpbuild.errors import LockStale, NoCompatibleWheel
from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Config, Project
from dpbuild.model.facts import Facts
from dpbuild.model.files import ProjectFile
from dpbuild.model.lock import Lock
from dpbuild.model.target import Target
from dpbuild.oci.codec import canonical
from dpbuild.oci.digest import Digest
from dpbuild.ports.backend import Backend
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.resolver import Resolver
from dpbuild.ports.store import Store
from dpbuild.stages.app import files_key
from dpbuild.stages.lock import build_stale, make_build_lock

NAME = "pylock.dpbuild-build.toml"
# Raise this when the same files and requirements may give another wheel.
VERSION = 1
# PEP 517: requirements of a project that names none; PEP 518 has the same for a missing [build-system].
_DEFAULT = ("setuptools",)

Fetch = Callable[[Lock], tuple[Artifact, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The app's wheel, and the lock of its build requirements: the one that was there, if it holds."""

    artifact: Artifact
    lock: Lock


def requires(project: Project) -> tuple[str, ...]:
    """The requirements that the project names for its backend (PEP 518); one that lies in the project needs none."""
    return project.build_requires if project.build_backend else project.build_requires or _DEFAULT


def build_app(
    config: Config,
    files: Sequence[ProjectFile],
    facts: Facts,
    target: Target,
    previous: Lock | None,
    *,
    backend: Backend,
    resolver: Resolver,
    fetch: Fetch,
    store: Store,
    reporter: Reporter,
    locked: bool,
) -> Built:
    """Build the wheel, or find the one that the same files and requirements gave before.

    ``previous`` is the lock that is there; with ``locked`` it has to be right. Raises LockStale (42),
    NoCompatibleWheel (52) for a wheel that is not for every platform, SdistBuildFailed (54).
    """
    work = _Work(
        project=config.project,
        files=files,
        content=files_key(files),
        facts=facts,
        backend=backend,
        fetch=fetch,
        store=store,
        reporter=reporter,
    )
    static = requires(config.project)
    if previous is not None:
        every = tuple(dict.fromkeys((*static, *work.requires(previous))))
        reason = build_stale(previous, every, target, config.find_links)
        if reason is not None and locked:
            raise LockStale(f"the lock of build requirements is stale: {reason}", where=NAME, hint="run dpbuild build")
        if reason is None:
            return Built(artifact=work.wheel(previous), lock=previous)
    elif locked:
        raise LockStale("there is no lock of build requirements", where=NAME, hint="run dpbuild build without --locked")

    def lock(lines: tuple[str, ...], before: Lock | None) -> Lock:
        return make_build_lock(
            lines, target, resolver, find_links=config.find_links, directory=config.directory, previous=before
        )

    new = lock(static, previous)
    every = tuple(dict.fromkeys((*static, *work.requires(new))))
    if set(every) != set(static):
        new = lock(every, new)
    return Built(artifact=work.wheel(new), lock=new)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The project and what builds it; its answers are kept by everything that they depend on."""

    project: Project
    files: Sequence[ProjectFile]
    content: str
    facts: Facts
    backend: Backend
    fetch: Fetch
    store: Store
    reporter: Reporter

    def key(self, what: str, lock: Lock) -> str:
        wheels = sorted(wheel.sha256 for package in lock.packages for wheel in package.wheels)
        backend = [self.project.build_backend, list(self.project.backend_path)]
        value = [VERSION, self.content, backend, wheels, self.facts.interpreter_sha256, self.facts.interpreter]
        return f"{what} {hashlib.sha256(canonical(value)).hexdigest()}"

    def requires(self, lock: Lock) -> tuple[str, ...]:
        """What the backend itself asks for, on top of what the project names."""
        key = self.key("requires", lock)
        kept = self.store.get("app", key)
        if kept is not None:
            return tuple(json.loads(kept))
        found = self.backend.requires(self.project, self.files, self.fetch(lock))
        self.store.put("app", key, canonical(list(found)))
        return found

    def wheel(self, lock: Lock) -> Artifact:
        """The wheel, built unless the store has it."""
        key = self.key("wheel", lock)
        kept = self.store.get("app", key)
        if kept is not None:
            name, version, filename, digest, size = json.loads(kept)
            if self.store.has(Digest(digest)):
                return Artifact(
                    name=name, version=version, filename=filename, digest=Digest(digest), size=size, locked=False
                )
        with self.reporter.step("building the app's wheel") as step:
            filename, made = self.backend.build(self.project, self.files, self.fetch(lock))
            step.done(filename)
        if not made.filename.endswith("-none-any.whl"):
            raise NoCompatibleWheel(
                f"the project makes {made.filename}, which is for one platform",
                hint="this version builds projects that are pure Python; for C code, put a wheel into find-links",
            )
        self.store.put("app", key, canonical([made.name, made.version, made.filename, made.digest.hex, made.size]))
        return made
