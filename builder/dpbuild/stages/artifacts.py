"""The artifact stage: what the lock names comes into the store."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from dpbuild.errors import HashMismatch
from dpbuild.frozen import field, frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.model.words import counted
from dpbuild.oci.digest import Digest
from dpbuild.ports.fetcher import BatchFetcher, Fetcher
from dpbuild.ports.reporter import Reporter, Step
from dpbuild.ports.store import Store

Row = tuple[LockedPackage, LockedFile]

_THREADS: Final = 6


@frozen(kw_only=False)
class Arriving:
    """The artifacts of a build, sorted by name; some may be on their way into the store."""

    artifacts: tuple[Artifact, ...]
    under_way: Mapping[Digest, "Future[int]"] = field(default_factory=dict)

    def wait(self, artifact: Artifact) -> None:
        """Return when it is in the store. Raises HashMismatch (51), ArtifactError (50), StoreError (110)."""
        job = self.under_way.get(artifact.digest)
        try:
            if job is not None:
                job.result()
        except CancelledError:
            # Given up, because another one failed: that is what is wrong.
            failed = (each.exception() for each in self.under_way.values() if each.done() and not each.cancelled())
            raise next((problem for problem in failed if problem is not None), CancelledError()) from None


@contextmanager
def fetching(
    chosen: Iterable[Row], directory: str, store: Store, fetcher_of: Callable[[], Fetcher], reporter: Reporter
) -> Iterator[Arriving]:
    """The artifacts for the block, at whose end all are there; wheels that are missing are downloaded meanwhile, by
    what ``fetcher_of`` gives.

    What the block has to know before is waited for: how large wheels are of which the lock does not say it, and what
    sdists build. Raises as ``Arriving.wait`` does.
    """
    rows = _sorted(chosen)
    missing = _missing(rows, store)
    if not missing:
        yield Arriving(_artifacts(rows, store))
        return
    fetcher = fetcher_of()
    early = all(file.size is not None and file.name.endswith(".whl") for file in missing)
    if not early or isinstance(fetcher, BatchFetcher):
        yield Arriving(fetch_all(rows, directory, store, fetcher, reporter))
        return
    sizes = {Digest(file.sha256): file.size or 0 for file in missing}
    # The largest first, as their layers are made.
    missing.sort(key=lambda file: (-(file.size or 0), file.name))
    with ExitStack() as shown, ThreadPoolExecutor(_THREADS) as pool:
        step = shown.enter_context(reporter.step(_title(len(missing)), sum(sizes.values())))
        jobs = {Digest(file.sha256): pool.submit(_fetch, fetcher, file, directory, store, step) for file in missing}
        _watch(tuple(jobs.values()), step, shown.pop_all())
        try:
            yield Arriving(_artifacts(rows, store, sizes), jobs)
            for job in jobs.values():
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Failed(Exception):
    """Ends a step that has no result."""


def _watch(jobs: tuple["Future[int]", ...], step: Step, shown: ExitStack) -> None:
    """Close the step when the last one has ended, and give up the others when one fails."""
    lock = threading.Lock()
    left = len(jobs)

    def ended(job: "Future[int]") -> None:
        nonlocal left
        if job.cancelled() or job.exception() is not None:
            for each in jobs:
                each.cancel()
        with lock:
            left -= 1
            last = not left
        if not last:
            return
        if any(each.cancelled() or each.exception() is not None for each in jobs):
            with suppress(_Failed):
                shown.__exit__(_Failed, _Failed(), None)
        else:
            step.done(_amount(each.result() for each in jobs))
            shown.close()

    for each in jobs:
        each.add_done_callback(ended)


def fetch_all(
    chosen: Iterable[Row], directory: str, store: Store, fetcher: Fetcher, reporter: Reporter
) -> tuple[Artifact, ...]:
    """Every chosen file, in the store and verified, sorted by name; what is missing is downloaded in parallel.

    Raises HashMismatch (51), ArtifactError (50), StoreError (110).
    """
    rows = _sorted(chosen)
    missing = _missing(rows, store)
    if missing:
        sizes = [file.size for file in missing]
        total = sum(size for size in sizes if size is not None) if None not in sizes else None
        with reporter.step(_title(len(missing)), total) as step, ThreadPoolExecutor(_THREADS) as pool:
            if isinstance(fetcher, BatchFetcher):
                step.done(_amount([_fetch_batch(fetcher, missing, directory, store, step)]))
            else:
                step.done(_amount(pool.map(lambda file: _fetch(fetcher, file, directory, store, step), missing)))
    return _artifacts(rows, store)


def _sorted(chosen: Iterable[Row]) -> list[Row]:
    return sorted(chosen, key=lambda pair: pair[0].name)


def _missing(rows: Iterable[Row], store: Store) -> list[LockedFile]:
    return [file for _, file in rows if not store.has(Digest(file.sha256))]


def _artifacts(rows: Iterable[Row], store: Store, sizes: Mapping[Digest, int] | None = None) -> tuple[Artifact, ...]:
    """``sizes`` are those of files that are not there yet."""
    found = []
    for package, file in rows:
        digest = Digest(file.sha256)
        size = sizes[digest] if sizes and digest in sizes else store.size(digest)
        found.append(Artifact(name=package.name, version=package.version, filename=file.name, digest=digest, size=size))
    return tuple(found)


def _fetch(fetcher: Fetcher, file: LockedFile, directory: str, store: Store, step: Step) -> int:
    moved = fetcher.fetch(file, directory)
    _check_size(file, store)
    step.advance(moved)
    return moved


def _fetch_batch(fetcher: BatchFetcher, files: Sequence[LockedFile], directory: str, store: Store, step: Step) -> int:
    moved = fetcher.fetch_all(files, directory)
    for file in files:
        _check_size(file, store)
    step.advance(moved)
    return moved


def _check_size(file: LockedFile, store: Store) -> None:
    found = store.size(Digest(file.sha256))
    if file.size is not None and file.size != found:
        # Which layer a wheel is in depends on it.
        raise HashMismatch(
            f"{file.name} is not the file that was locked: it has {found} bytes, the lock says {file.size}",
            hint="the lock was changed by hand, or by a tool that miscounts; run dpbuild lock",
        )


def _title(number: int) -> str:
    return f"downloading {counted(number, 'wheel')}"


def _amount(moved: Iterable[int]) -> str:
    return f"{sum(moved) / 1e6:.1f} MB"
