"""The project's folder."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from dpbuild.model.files import Committed, ProjectFile

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class ProjectFolder(Protocol):
    """Reads the project, and writes nothing but locks into it."""

    @property
    def directory(self) -> str:
        """Its absolute path."""

    def read(self, name: str) -> str | None:
        """A text file, or None if there is none. Raises ConfigError if it cannot be read."""

    def write(self, name: str, text: str) -> bool:
        """Replace a text file at once; False if the project is read-only."""

    def shelter(self) -> None:
        """Keep the folder of the default output, which is there by now, out of version control, if it can be."""

    def app_files(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """What a copied app consists of, sorted by path. Raises ConfigError."""

    def build_files(self) -> tuple[ProjectFile, ...]:
        """What a build backend gets to see, sorted by path. Raises ConfigError."""

    def named(self, sources: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """The files and folders that configuration names, sorted by path. Raises ConfigError."""

    def lacking(self, source: str) -> str:
        """Why ``named`` would refuse a name, or ""."""

    def committed(
        self, files: Collection[str], ignorable: Mapping[str, str] = NOTHING, packed: Collection[str] = ()
    ) -> Committed:
        """What version control says of these files (paths in the project).

        ``ignorable`` are those of them that a build backend saw, with their sha256, and ``packed`` what its wheel
        holds: of what the commit lacks and its ignore files name, only that counts which is packed and which no
        other of the files holds.
        """

    def seen(self) -> dict[str, Any]:
        """What was read so far, as JSON: names, contents by hash, folders, what was asked and noted."""

    def still(self, seen: dict[str, Any]) -> bool:
        """Whether a run now would read just what ``seen`` tells."""
