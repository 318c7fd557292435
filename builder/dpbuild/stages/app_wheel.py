"""The app as a wheel: its build requirements locked and hashed, built once, and kept by what it was made from."""

from collections.abc import Sequence

from dpbuild.errors import NoCompatibleWheel
from dpbuild.model.config import Config
from dpbuild.model.facts import Facts
from dpbuild.model.files import ProjectFile
from dpbuild.model.lock import Lock
from dpbuild.model.target import Target
from dpbuild.ports.backend import Backend
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.resolver import Resolver
from dpbuild.ports.store import Store
from dpbuild.stages.app import files_key
from dpbuild.stages.building import Built, Fetch, Work


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
    native: bool = False,
) -> Built:
    """Build the wheel, or find the one that the same files and requirements gave before.

    ``previous`` is the lock that is there; with ``locked`` it has to be right. Without ``native`` the wheel must be
    for any platform. Raises LockStale (42), NoCompatibleWheel (52), SdistBuildFailed (54).
    """
    work = Work(
        title="the app's wheel",
        project=config.project,
        source=files,
        content=files_key(files),
        facts=facts,
        target=target,
        backend=backend,
        resolver=resolver,
        fetch=fetch,
        store=store,
        reporter=reporter,
        find_links=config.find_links,
        directory=config.directory,
    )
    built = work.build(previous, locked=locked)
    if not native and not built.artifact.filename.endswith("-any.whl"):
        raise NoCompatibleWheel(
            f"the project makes {built.artifact.filename}, which is for one platform, but has no sources to compile",
            hint="add packages to [tool.dpbuild.builder], and it is built where there is a compiler",
        )
    return built
