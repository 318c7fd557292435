"""What layers are made for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dpbuild.frozen import field, frozen
from dpbuild.model.base import Base
from dpbuild.model.facts import Facts
from dpbuild.ports.store import Store
from dpbuild.stages.layers.observer import Observer

# Raise this whenever the same inputs give other bytes; it is part of every layer's key.
FORMAT = 1


class Compiler(Protocol):
    """Compiles sources with the base's interpreter."""

    @property
    def key(self) -> str:
        """Everything that the outcome depends on besides the sources."""

    def compile(self, files: Sequence[tuple[str, bytes]], *, checked: bool) -> tuple[tuple[str, bytes], ...]:
        """Path in the image and source in, path and bytecode out; what does not compile is left out.

        With ``checked`` the interpreter compares the source's hash before it uses the bytecode (PEP 552).
        """


@frozen(kw_only=False)
class Site:
    """The base, and how modules are compiled (None: not at all)."""

    base: Base
    compiler: Compiler | None = None
    # By normalised name: the base's files of a distribution that the lock has too, so that it is replaced.
    replaced: tuple[tuple[str, frozenset[str]], ...] = ()
    # By path: the Debian package of what was added to the base.
    owners: Mapping[str, str] = field(default_factory=dict, compare=False)
    # Makes one for each layer that is written; it decides nothing.
    observer: Callable[[Store], Observer] | None = field(default=None, compare=False)

    @property
    def facts(self) -> Facts:
        """The base's facts."""
        return self.base.facts

    @property
    def gone(self) -> frozenset[str]:
        """All files of the base that are replaced."""
        return frozenset().union(*(paths for _, paths in self.replaced))

    def key(self) -> list[Any]:
        """What a layer's bytes depend on besides its contents and folders."""
        facts = self.facts
        return [
            FORMAT,
            facts.purelib,
            facts.scripts,
            facts.data,
            facts.headers,
            facts.interpreter,
            self.compiler.key if self.compiler else None,
        ]
