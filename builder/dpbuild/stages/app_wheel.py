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
    """The app's wheel, and the lock of its build requirements: ``lock`` is None if the one that was there holds."""

    artifact: Artifact
    lock: Lock | None = None


def requires(project: Project) -> tuple[str, ...]:
    """The requirements that the project names for its backend (PEP 518)."""
    return project.build_requires or _DEFAULT


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
    project = config.project
    static = requires(project)
    content = files_key(files)
    lock = previous
    if lock is not None:
        dynamic = _dynamic(project, files, content, lock, facts, backend, fetch, store)
        reason = build_stale(lock, tuple(dict.fromkeys((*static, *dynamic))), target, config.find_links)
        if reason is not None and locked:
            raise LockStale(f"the lock of build requirements is stale: {reason}", where=NAME, hint="run dpbuild build")
        if reason is None:
            return Built(artifact=_wheel(project, files, content, lock, facts, backend, fetch, store, reporter))
    elif locked:
        raise LockStale("there is no lock of build requirements", where=NAME, hint="run dpbuild build without --locked")
    new = make_build_lock(
        static, target, resolver, find_links=config.find_links, directory=config.directory, previous=previous
    )
    dynamic = _dynamic(project, files, content, new, facts, backend, fetch, store)
    every = tuple(dict.fromkeys((*static, *dynamic)))
    if set(every) != set(static):
        new = make_build_lock(
            every, target, resolver, find_links=config.find_links, directory=config.directory, previous=new
        )
    wheel = _wheel(project, files, content, new, facts, backend, fetch, store, reporter)
    return Built(artifact=wheel, lock=new)


def _key(project: Project, content: str, lock: Lock, facts: Facts) -> str:
    wheels = sorted(wheel.sha256 for package in lock.packages for wheel in package.wheels)
    backend = [project.build_backend, list(project.backend_path)]
    value = [VERSION, content, backend, wheels, facts.interpreter_sha256, facts.interpreter]
    return hashlib.sha256(canonical(value)).hexdigest()


def _dynamic(
    project: Project,
    files: Sequence[ProjectFile],
    content: str,
    lock: Lock,
    facts: Facts,
    backend: Backend,
    fetch: Fetch,
    store: Store,
) -> tuple[str, ...]:
    """What the backend itself asks for, kept by what it was asked with."""
    key = "requires " + _key(project, content, lock, facts)
    kept = store.get("app", key)
    if kept is not None:
        return tuple(json.loads(kept))
    found = backend.requires(project, files, fetch(lock))
    store.put("app", key, canonical(list(found)))
    return found


def _wheel(
    project: Project,
    files: Sequence[ProjectFile],
    content: str,
    lock: Lock,
    facts: Facts,
    backend: Backend,
    fetch: Fetch,
    store: Store,
    reporter: Reporter,
) -> Artifact:
    key = "wheel " + _key(project, content, lock, facts)
    kept = store.get("app", key)
    if kept is not None:
        name, version, filename, digest, size = json.loads(kept)
        if store.has(Digest(digest)):
            return Artifact(
                name=name, version=version, filename=filename, digest=Digest(digest), size=size, locked=False
            )
    with reporter.step("building the app's wheel") as step:
        filename, artifact = backend.build(project, files, fetch(lock))
        step.done(filename)
    if not artifact.filename.endswith("-none-any.whl"):
        raise NoCompatibleWheel(
            f"the project makes {artifact.filename}, which is for one platform",
            hint="this version builds projects that are pure Python; for C code, put a wheel into find-links",
        )
    row = [artifact.name, artifact.version, artifact.filename, artifact.digest.hex, artifact.size]
    store.put("app", key, canonical(row))
    return artifact
