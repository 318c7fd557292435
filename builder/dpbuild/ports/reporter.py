"""What the user reads while dpbuild works."""

from contextlib import AbstractContextManager
from typing import Protocol


class Step(Protocol):
    """One step under way."""

    def advance(self, amount: int) -> None:
        """So many bytes more; may be called from several threads."""

    def done(self, result: str) -> None:
        """What the step found, for its closing line."""


class Reporter(Protocol):
    """Progress and notes, on stderr."""

    def step(self, title: str, total: int | None = None) -> AbstractContextManager[Step]:
        """A step; ``total`` is in bytes where that is known."""

    def note(self, text: str) -> None:
        """Something the user should know that is no error."""

    def warning(self, text: str) -> None:
        """Something that may be wrong with what is made."""

    def result(self, text: str) -> None:
        """A closing line of a verb."""
