"""Everything that the pipeline asks of the world, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from dpbuild.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from dpbuild.model.base import Base
    from dpbuild.model.config import Config
    from dpbuild.model.facts import Facts
    from dpbuild.oci.platform import Platform
    from dpbuild.oci.reference import Reference, RegistryReference
    from dpbuild.ports.backend import Builders
    from dpbuild.ports.debian import DebianPackages
    from dpbuild.ports.fetcher import Fetcher
    from dpbuild.ports.helper import Helper
    from dpbuild.ports.libraries import LibraryIndex
    from dpbuild.ports.reporter import Reporter
    from dpbuild.ports.resolver import Resolver
    from dpbuild.ports.runner import Runner
    from dpbuild.ports.sandbox import Sandbox
    from dpbuild.ports.signer import IdentityVerifier, KeylessSigner, Signer, Verifier
    from dpbuild.ports.sink import ImageSink
    from dpbuild.ports.source import ImageSource
    from dpbuild.ports.store import Store

Blob = Callable[[Descriptor], BinaryIO]


class World(Protocol):
    """Ports, made when they are first asked for."""

    @property
    def has_store(self) -> bool:
        """Whether there is a store already."""

    @property
    def store(self) -> Store:
        """The store."""

    @property
    def reporter(self) -> Reporter:
        """What the user reads."""

    @property
    def resolver(self) -> Resolver:
        """The resolver."""

    @property
    def fetcher(self) -> Fetcher:
        """Downloads."""

    @property
    def host(self) -> Platform:
        """The platform that dpbuild runs on."""

    @property
    def cores(self) -> int:
        """How many processors dpbuild may use; at least 1. Nothing that is made depends on it."""

    def helper(self) -> Helper:
        """Another process, started. Raises OSError where none can be."""

    def clock(self) -> float:
        """Seconds from anywhere, for durations."""

    def source(
        self,
        reference: Reference,
        platforms: Sequence[Platform],
        config: Config | None = None,
        pinned: tuple[tuple[str, str, str], ...] = (),
    ) -> ImageSource:
        """Where an image is read from; ``pinned`` are a composed base's packages as the lock has them."""

    def debian_packages(self, config: Config, base: Base) -> DebianPackages:
        """The packages of the base's own suite. Raises ConfigError for a base that is not Debian's."""

    def libraries(self, facts: Facts, config: Config | None = None) -> LibraryIndex | None:
        """Which packages of the distributor have a library; None where that is not known."""

    def signer(self, path: str) -> Signer:
        """The private key in a file. Raises UsageError."""

    def verifier(self, pem: bytes, where: str) -> Verifier:
        """A public key; ``where`` names it in errors. Raises UsageError."""

    def keyless(self, trust_config: str) -> KeylessSigner:
        """Who is vouched for in these surroundings, for the Sigstore of a file, "" for the public one.

        Raises UsageError, RegistryError.
        """

    def identity(self, identity: str, issuer: str, trust_config: str) -> IdentityVerifier:
        """Who has to have signed, and who vouches for that. Raises UsageError, RegistryError."""

    def sandbox(self, kind: str) -> Sandbox:
        """What runs an extracted image: bubblewrap, an engine, else its own loader. Raises SandboxError."""

    def runner(self, kind: Literal["auto", "docker", "podman"], *, required: bool) -> Runner | None:
        """An engine that answers; None without one, unless it is ``required``. Raises SandboxError."""

    def unpacked(self, layers: Sequence[Descriptor], blob: Blob) -> str:
        """The files that these layers make, extracted and kept."""

    def interpreter(self, base: Base) -> Sandbox:
        """What compiles with the base's interpreter; it runs no foreign code. Raises SandboxError."""

    def builders(self, config: Config, blob: Blob, kind: str) -> Builders:
        """What builds wheels with the base's interpreter; ``kind`` is the sandbox's."""

    def rootfs(self, base: Base, blob: Blob) -> str:
        """The base's files, extracted and kept."""

    def sinks(
        self,
        tags: tuple[RegistryReference, ...],
        blob: Blob,
        *,
        push: bool,
        load: bool,
        outputs: tuple[str, ...],
    ) -> tuple[ImageSink, ...]:
        """The destinations that were asked for. Raises UsageError."""
