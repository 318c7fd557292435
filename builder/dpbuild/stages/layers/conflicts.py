"""Whether wheels can lie beside each other on a base: found out as soon as two of them are known."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

from dpbuild.errors import PathConflict
from dpbuild.model.artifact import Artifact
from dpbuild.stages.layers.site import Site
from dpbuild.stages.layers.write import Placement


class Listed(NamedTuple):
    """One file of a wheel as far as conflicts, folders and parts are concerned; a tuple, since wheels have thousands.

    ``weight`` are its bytes as the wheel has them, compressed.
    """

    path: str
    mode: int
    identity: str
    script: bool
    weight: int


class Conflicts:
    """The files of all wheels that were added; may be added to by several threads."""

    def __init__(self, site: Site, placement: Placement) -> None:
        self._tree = site.base.tree
        self._gone = site.gone
        self._placement = placement
        self._search = [part.strip("/") for part in (site.base.config.variable("PATH") or "").split(":") if part]
        self._owners: dict[str, tuple[Listed, str]] = {}
        self._folders: dict[str, str] = {}
        self._lock = threading.Lock()
        # The names of all scripts.
        self.scripts: set[str] = set()

    def add(self, artifact: Artifact, rows: Iterable[Listed]) -> None:
        """Look at one more. Raises PathConflict (61) for what it has in common with the others, or with the base."""
        label = label_of(artifact)
        with self._lock:
            for row in rows:
                self._add(row, label)

    def _add(self, row: Listed, label: str) -> None:
        path = self._placement.place(row.path, label, self._gone)
        other, owner = self._owners.setdefault(path, (row, label))
        if other is not row and (other.identity, other.mode) != (row.identity, row.mode):
            first, second = sorted((owner, label))
            raise PathConflict(
                f"{first} and {second} both have the file /{path}, with different contents",
                hint="leave one of them out, or choose versions that do not collide",
            )
        if path in self._folders:
            raise _both(path, label, self._folders[path])
        folder = path.rpartition("/")[0]
        while folder and folder not in self._folders:
            if folder in self._owners:
                raise _both(folder, self._owners[folder][1], label)
            self._folders[folder] = label
            folder = folder.rpartition("/")[0]
        if row.script:
            self._add_script(path.rpartition("/")[2], label)

    def _add_script(self, name: str, label: str) -> None:
        self.scripts.add(name)
        for directory in self._search:
            known = f"{directory}/{name}"
            if self._tree.get(known) is not None and known not in self._gone:
                raise PathConflict(
                    f"{label} has a script named {name}, as the base's /{known}",
                    hint="it would shadow the base's program; leave the package out",
                )


def label_of(artifact: Artifact) -> str:
    """What the user reads of it."""
    return f"{artifact.name} {artifact.version}"


def _both(path: str, file: str, folder: str) -> PathConflict:
    return PathConflict(f"{file} has the file /{path}, which is a folder in {folder}")
