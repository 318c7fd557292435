"""The lock that a build uses: the one that is there if it fits. What makes another is imported only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dpbuild.errors import DpbuildError, LockStale
from dpbuild.stages import config as config_stage
from dpbuild.stages import inputs, lockfile
from dpbuild.stages.base import Fetched
from dpbuild.stages.bases import Bases
from dpbuild.stages.pending import PendingBuilds

if TYPE_CHECKING:
    from dpbuild.model.config import Config
    from dpbuild.model.lock import Lock
    from dpbuild.oci.platform import Platform
    from dpbuild.ports.project import ProjectFolder
    from dpbuild.ports.world import World
    from dpbuild.stages.builds import Builds


def lock_for_build(
    project: ProjectFolder,
    config: Config,
    platforms: Sequence[Platform],
    world: World,
    *,
    locked: bool,
    frozen: bool,
    builder: str = "auto",
    flags: Mapping[str, object] | None = None,
    fetched: Fetched = lambda layers, diff_ids: None,
) -> tuple[Lock, str, Bases, PendingBuilds]:
    """The lock that is there if it fits, else a new one; its text, and what builds what it names.

    One for the configured base stays where ``flags`` say another: what is locked for that is not kept.
    ``fetched`` is told of the layers of a base before it is read.
    """
    text = project.read(lockfile.NAME)
    if text is None and (locked or frozen):
        raise LockStale("there is no lock", where=f"{project.directory}/{lockfile.NAME}", hint="run dpbuild lock")
    store = world.store if world.has_store else None
    if not frozen:
        inputs.check_given(config, world.reporter.note, locked=locked)
    if locked or frozen:
        assert text is not None  # noqa: S101 - refused above
        found = lockfile.loads(text, store=store)
        reason = None if frozen else inputs.stale(found, config, platforms)
        bases = Bases(world, config, found, fetched)
        if reason is not None:
            python = "" if found.base_reference == str(config.base) else _moved(found, platforms, bases)
            raise LockStale(f"the lock is stale: {reason}{python}", where=lockfile.NAME, hint="run dpbuild lock")
        return found, text, bases, PendingBuilds(partial(_begin, project, config, world, bases, builder, locked=True))
    previous = lockfile.kept(text, world.reporter.note, store)
    reason = "there is no lock" if previous is None else inputs.stale(previous, config, platforms)
    bases = Bases(world, config, previous, fetched)
    aside = previous is not None and _aside(project, config, previous, flags or {})
    builds = PendingBuilds(partial(_begin, project, config, world, bases, builder, locked=False), kept=not aside)
    if reason is None and previous is not None and text is not None:
        return previous, text, bases, builds
    from dpbuild.locking import LockOptions, make_lock

    new = make_lock(project, config, bases, previous, world, LockOptions(builder=builder), builds.now)
    text = lockfile.dumps(new)
    if previous is not None and aside:
        made = f"for {config.base} one was made that is not kept"
        world.reporter.note(f"the lock is for {previous.base_reference} and stays; {made}")
        return new, text, bases, builds
    if previous is not None:
        world.reporter.note(f"the lock was renewed{'' if new.resolver == 'uv' else f' by {new.resolver}'}: {reason}")
        for line in inputs.changes(previous, new):
            world.reporter.note(f"  {line}")
    if not project.write(lockfile.NAME, text):
        world.reporter.note("the project is read-only, so the lock was not kept")
    return new, text, bases, builds


def _aside(project: ProjectFolder, config: Config, previous: Lock, flags: Mapping[str, object]) -> bool:
    """Whether the base is another for this build alone, and the lock is for the one that is configured."""
    if "base" not in flags or previous.base_reference == str(config.base):
        return False
    rest = {key: value for key, value in flags.items() if key != "base"}
    return previous.base_reference == str(config_stage.load(project.directory, project.read, rest).base)


def _moved(lock: Lock, platforms: Sequence[Platform], bases: Bases) -> str:
    """What another base means for Python; "" where it is the same, or the base cannot be read."""
    try:
        found = [inputs.moved(lock, row, bases.get(row).facts.version) for row in platforms[:1]]
    except DpbuildError:
        return ""
    return "".join(f" ({row})" for row in found if row)


def _begin(project: ProjectFolder, config: Config, world: World, bases: Bases, kind: str, *, locked: bool) -> Builds:
    from dpbuild.stages.builds import begin

    return begin(project, config, world, bases.blob, kind, locked=locked)
