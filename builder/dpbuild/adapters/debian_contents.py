"""The libraries of a Debian suite, from its signed ``Contents`` index; a small list of them is kept in the store."""

from collections.abc import Callable
from typing import Final

from dpbuild.adapters.debian import DebianArchive
from dpbuild.debian import contents
from dpbuild.errors import DpbuildError
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.store import Store

_KIND: Final = "facts"


class ContentsIndex:
    """``LibraryIndex`` for a suite; ``archive`` is None when offline. What a stable suite has, stays where it is."""

    def __init__(
        self,
        archive: Callable[[], DebianArchive | None],
        store: Store,
        reporter: Reporter,
        *,
        codename: str,
        architecture: str,
    ) -> None:
        self._archive = archive
        self._store = store
        self._reporter = reporter
        self._codename = codename
        self._architecture = architecture

    def packages(self, names: frozenset[str]) -> dict[str, str] | None:
        """As ``LibraryIndex``."""
        try:
            known = self._known()
        except DpbuildError as problem:
            self._reporter.note(f"which package has a missing library cannot be told: {problem.what}")
            return None
        return None if known is None else contents.lookup(known, names)

    def _known(self) -> dict[str, str] | None:
        key = f"libraries-{self._codename}-{self._architecture}"
        data = self._store.get(_KIND, key)
        if data is not None:
            try:
                return contents.decode(data)
            except ValueError:
                pass  # from another version
        archive = self._archive()
        if archive is None:
            return None
        with self._reporter.step(f"looking up libraries in {self._codename}") as step:
            known = contents.libraries(archive.contents(self._codename, self._architecture))
            step.done(f"{len(known)} libraries")
        self._store.put(_KIND, key, contents.encode(known))
        return known
