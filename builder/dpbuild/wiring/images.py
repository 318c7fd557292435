"""Where images are read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from dpbuild.errors import BaseImageError, ConfigError
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import (
    ArchiveReference,
    ComposeReference,
    DaemonReference,
    LayoutReference,
    Reference,
    RegistryReference,
)
from dpbuild.wiring.network import Network
from dpbuild.wiring.surroundings import Settings

if TYPE_CHECKING:
    from dpbuild.adapters.debian import DebianArchive
    from dpbuild.adapters.debian_contents import ContentsIndex
    from dpbuild.adapters.debian_packages import SuitePackages
    from dpbuild.debian.sources import Mirrors
    from dpbuild.model.base import Base
    from dpbuild.model.config import Config
    from dpbuild.model.facts import Facts
    from dpbuild.oci.digest import Digest
    from dpbuild.ports.source import ImageSource

# Bytes of a manifest, as many as registries take.
_LARGEST: Final = 4 << 20


class Images(Network):
    """Sources of images."""

    def __init__(self, settings: Settings, environment: dict[str, str] | None = None) -> None:
        super().__init__(settings, environment)
        self._archives: dict[str, DebianArchive] = {}

    def source(
        self,
        reference: Reference,
        platforms: Sequence[Platform],
        config: Config | None = None,
        pinned: tuple[tuple[str, str, str], ...] = (),
    ) -> ImageSource:
        """Where an image is read from. Raises BaseImageError."""
        match reference:
            case RegistryReference():
                return self.registry.source(reference, self._document)
            case ComposeReference():
                return self._compose(reference, platforms, config, pinned)
            case LayoutReference():
                from dpbuild.adapters.source.layout import LayoutSource

                return LayoutSource(reference)
            case ArchiveReference():
                from dpbuild.adapters.source.archive import archive_source

                return archive_source(reference)
            case DaemonReference():
                from dpbuild.adapters.source.daemon import DaemonSource

                return DaemonSource(reference, self.engine, self.store, self.reporter)

    def _document(self, digest: Digest) -> bytes | None:
        """A manifest that was read before. A store that is not there is not made for it."""
        if not self.has_store:
            return None
        try:
            with self.store.open(digest) as stream:
                return stream.read(_LARGEST)
        except KeyError:
            return None

    def engine(self, kind: Literal["auto", "docker", "podman"] = "auto") -> Any:
        """The Docker SDK's client of the engine that answers. Raises SandboxError."""
        from dpbuild.adapters.sandbox.connect import EngineSettings, connect

        return connect(EngineSettings.configured(self._env, self._home), kind)

    def debian(self, config: Config | None, snapshot: str | None = None) -> DebianArchive:
        """Debian's archive, as it is now or as of a moment (None: of the configured base); every index of it is read
        once in a run. Raises BaseImageError.
        """
        if snapshot is None:
            base = config.base if config else None
            snapshot = base.snapshot if isinstance(base, ComposeReference) else ""
        if snapshot not in self._archives:
            from datetime import UTC, datetime

            from dpbuild.adapters.debian import DebianArchive, HttpDownload

            mirrors = self._snapshots(config, snapshot) if snapshot else self._mirrors(config)
            self._archives[snapshot] = DebianArchive(
                mirrors, HttpDownload(self._transport), now=datetime.now(UTC), snapshot=snapshot
            )
        return self._archives[snapshot]

    def _mirrors(self, config: Config | None) -> Mirrors:
        from dpbuild.adapters.debian import host_mirrors
        from dpbuild.debian.sources import Mirrors

        host = host_mirrors()
        return Mirrors(
            main=(config.debian_mirror if config else "") or self._env.get("DPBUILD_DEBIAN_MIRROR", "") or host.main,
            security=(config.debian_security_mirror if config else "")
            or self._env.get("DPBUILD_DEBIAN_SECURITY_MIRROR", "")
            or host.security,
        )

    def _snapshots(self, config: Config | None, moment: str) -> Mirrors:
        from dpbuild.debian.sources import Mirrors, snapshot

        template = (config.debian_snapshot if config else "") or self._env.get("DPBUILD_DEBIAN_SNAPSHOT", "")
        if not template:
            # Nobody need know where it is as long as it is not asked.
            return Mirrors()
        try:
            return snapshot(template, moment)
        except ValueError as problem:
            raise BaseImageError(str(problem), where="DPBUILD_DEBIAN_SNAPSHOT") from None

    def debian_packages(self, config: Config, base: Base) -> SuitePackages:
        """The packages of the base's own suite, which go on top of it. Raises ConfigError."""
        from dpbuild.adapters.debian_packages import SuitePackages
        from dpbuild.debian.suites import ARCHITECTURES, SUITES
        from dpbuild.stages.recipes import suite_of

        suite = SUITES.get(suite_of(base.facts.distributor))
        architecture = ARCHITECTURES.get(base.platform.architecture)
        if suite is None or architecture is None:
            raise ConfigError(
                f"Debian packages can be added to Debian 12 and 13 on {' and '.join(ARCHITECTURES)}, and the base is "
                f"{base.facts.distributor or 'of an unknown distributor'} on {base.platform}",
                where=str(base.reference),
            )
        return SuitePackages(None if self._settings.offline else self.debian(config), suite, architecture)

    def libraries(self, facts: Facts, config: Config | None = None) -> ContentsIndex | None:
        """Which packages of the base's distributor have a library; None where that is not known."""
        from dpbuild.adapters.debian_contents import ContentsIndex
        from dpbuild.debian.suites import ARCHITECTURES, SUITES
        from dpbuild.stages.recipes import suite_of

        suite = SUITES.get(suite_of(facts.distributor))
        architecture = ARCHITECTURES.get({"x86_64": "amd64", "aarch64": "arm64"}.get(facts.machine, ""))
        if suite is None or architecture is None:
            return None
        return ContentsIndex(
            lambda: None if self._settings.offline else self.debian(config, ""),
            self.store,
            self.reporter,
            codename=suite.codename,
            architecture=architecture,
        )

    def _compose(
        self,
        reference: ComposeReference,
        platforms: Sequence[Platform],
        config: Config | None,
        pinned: tuple[tuple[str, str, str], ...],
    ) -> ImageSource:
        from dpbuild.adapters.source.compose import ComposeSource

        return ComposeSource(
            reference,
            tuple(platforms),
            self.store,
            self.debian(config, reference.snapshot),
            offline=self._settings.offline,
            pinned=dict.fromkeys(platforms, pinned) if pinned else None,
            reporter=self.reporter,
        )
