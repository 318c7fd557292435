"""The artifact stage: what the lock names comes into the store."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from dpbuild.model.artifact import Artifact
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.model.words import counted
from dpbuild.oci.digest import Digest
from dpbuild.ports.fetcher import Fetcher
from dpbuild.ports.reporter import Reporter, Step
from dpbuild.ports.store import Store


def fetch_all(
    chosen: Iterable[tuple[LockedPackage, LockedFile]],
    directory: str,
    store: Store,
    fetcher: Fetcher,
    reporter: Reporter,
    *,
    threads: int = 6,
) -> tuple[Artifact, ...]:
    """Every chosen wheel, in the store and verified, sorted by name; what is missing is downloaded in parallel.

    Raises HashMismatch (51), ArtifactError (50), StoreError (110).
    """
    rows = sorted(chosen, key=lambda pair: pair[0].name)
    missing = [file for _, file in rows if not store.has(Digest(file.sha256))]
    if missing:
        sizes = [file.size for file in missing]
        total = sum(size for size in sizes if size is not None) if None not in sizes else None
        title = f"downloading {counted(len(missing), 'wheel')}"
        with reporter.step(title, total) as step, ThreadPoolExecutor(threads) as pool:
            moved = pool.map(lambda file: _fetch(fetcher, file, directory, step), missing)
            step.done(f"{sum(moved) / 1e6:.1f} MB")
    return tuple(
        Artifact(
            name=package.name,
            version=package.version,
            filename=file.name,
            digest=Digest(file.sha256),
            size=store.size(Digest(file.sha256)),
        )
        for package, file in rows
    )


def _fetch(fetcher: Fetcher, file: LockedFile, directory: str, step: Step) -> int:
    size = fetcher.fetch(file, directory)
    step.advance(size)
    return size
