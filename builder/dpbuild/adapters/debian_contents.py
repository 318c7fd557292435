"""The libraries of a Debian suite, from its signed ``Contents`` index; a small list of them is kept in the store."""

from collections.abc import Callable
from typing import Final

from dpbuild.adapters.debian import DebianArchive
from dpbuild.debian import contents, deb
from dpbuild.errors import DpbuildError, HashMismatch
from dpbuild.model.words import counted
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
        except HashMismatch:
            # A mirror that lags behind: what its signed indices name can be looked into one by one.
            return self._looked_into(names)
        except DpbuildError as problem:
            self._reporter.note(f"which package has a missing library cannot be told: {problem.what}")
            return None
        return None if known is None else contents.lookup(known, names)

    def _looked_into(self, names: frozenset[str]) -> dict[str, str] | None:
        """The libraries that the package of the usual name really has; None if the mirror fails."""
        archive = self._archive()
        wanted = {name: contents.likely(name) for name in sorted(names)}
        rows = frozenset(row for found in wanted.values() for row in found)
        if archive is None or not rows:
            return None
        found: dict[str, str] = {}
        try:
            packages = archive.select(self._codename, self._architecture, rows)
            for name, likely in wanted.items():
                for row in (packages[each] for each in likely if each in packages):
                    if any(entry.path.endswith(f"/{name}") for entry, _ in deb.contents(archive.package(row))):
                        found[name] = row.name
        except (DpbuildError, deb.DebError) as problem:
            self._reporter.note(f"which package has a missing library cannot be told: {problem}")
            return None
        return found

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
            step.done(counted(len(known), "library", "libraries"))
        self._store.put(_KIND, key, contents.encode(known))
        return known
