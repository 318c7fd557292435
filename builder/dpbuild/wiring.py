"""The composition root: the only reader of the environment and of the clock."""

import functools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from dpbuild import __version__
from dpbuild.adapters.reporter import Mode, StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import BaseImageError, ConfigError, OutputError, SandboxError
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import (
    ArchiveReference,
    ComposeReference,
    DaemonReference,
    LayoutReference,
    Reference,
    RegistryReference,
)
from dpbuild.ports.sandbox import Sandbox
from dpbuild.ports.sink import ImageSink
from dpbuild.ports.source import ImageSource
from dpbuild.ports.world import Blob

if TYPE_CHECKING:
    from dpbuild.adapters.backend import SandboxBackend
    from dpbuild.adapters.debian import DebianArchive
    from dpbuild.adapters.fetch import HttpFetcher
    from dpbuild.adapters.indexes import Indexes
    from dpbuild.adapters.project import DiskProject
    from dpbuild.adapters.registry.client import RegistryClient
    from dpbuild.adapters.registry.hosts import Proxies
    from dpbuild.adapters.registry.transport import Transport
    from dpbuild.adapters.runner import EngineRunner
    from dpbuild.adapters.uv import UvResolver

_TIMEOUT = 60.0
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the common options say."""

    cache_dir: Path | None = None
    offline: bool = False
    plain_http: bool = False
    progress: str = "auto"


class World:
    """Everything outside, made when it is first asked for (``ports/world.py``)."""

    def __init__(self, settings: Settings, environment: dict[str, str] | None = None) -> None:
        self._settings = settings
        self._env = dict(os.environ) if environment is None else environment
        self._home = self._env.get("HOME") or str(Path.home())
        self._directory = Path()
        self._archive: DebianArchive | None = None

    # what is small

    @functools.cached_property
    def reporter(self) -> StreamReporter:
        """Progress, on stderr."""
        mode: Mode
        match self._settings.progress:
            case "auto":
                mode = "live" if sys.stderr.isatty() and self._env.get("TERM", "") != "dumb" else "plain"
            case "json":
                mode = "json"
            case "none":
                mode = "none"
            case _:
                mode = "plain"
        return StreamReporter(sys.stderr, time.monotonic, mode)

    def clock(self) -> float:
        """Seconds from anywhere."""
        return time.monotonic()

    @property
    def host(self) -> Platform:
        """The platform that dpbuild runs on."""
        return Platform.parse(f"linux/{platform.machine().lower()}")

    @property
    def epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH, in seconds. Raises ConfigError if it is no number."""
        text = self._env.get("SOURCE_DATE_EPOCH", "")
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise ConfigError(f"SOURCE_DATE_EPOCH is not a number of seconds: {text!r}")
        return int(text)

    @functools.cached_property
    def cache(self) -> Path:
        """Where the store is."""
        if self._settings.cache_dir is not None:
            return self._settings.cache_dir.absolute()
        home = self._env.get("XDG_CACHE_HOME") or f"{self._home}/.cache"
        return Path(home) / "dpbuild"

    @functools.cached_property
    def store(self) -> DiskStore:
        """The store."""
        return DiskStore(self.cache, self.reporter.note)

    def project(self, directory: Path) -> "DiskProject":
        """The project's folder."""
        from dpbuild.adapters.project import DiskProject

        self._directory = directory
        kept = ("PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
        env = {name: self._env[name] for name in kept if name in self._env}
        return DiskProject(directory, {**env, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"})

    def write_json(self, path: Path, value: dict[str, Any]) -> None:
        """Write a JSON file at once. Raises OutputError."""
        temporary = path.with_name(f".{path.name}.new")
        try:
            temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
            temporary.replace(path)
        except OSError as problem:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"cannot write the file: {problem.strerror}", where=str(path)) from None

    # the network

    @functools.cached_property
    def _proxies(self) -> "Proxies":
        from dpbuild.adapters.registry.hosts import Proxies

        return Proxies.configured(self._env)

    @functools.cached_property
    def _transport(self) -> "Transport":
        from dpbuild.adapters.registry.transport import Transport

        return Transport(
            proxies=self._proxies,
            ca_bundle=self._env.get("SSL_CERT_FILE") or None,
            timeout=_TIMEOUT,
            connections=_CONNECTIONS,
            user_agent=f"dpbuild/{__version__}",
        )

    @functools.cached_property
    def registry(self) -> "RegistryClient":
        """All registries."""
        from dpbuild.adapters.registry.client import RegistryClient
        from dpbuild.adapters.registry.credentials import CredentialFiles, credential_files

        return RegistryClient(
            credentials=CredentialFiles(credential_files(self._env, self._home), self._env),
            proxies=self._proxies,
            ca_bundle=self._env.get("SSL_CERT_FILE") or None,
            plain_http=self._settings.plain_http,
            timeout=_TIMEOUT,
            connections=_CONNECTIONS,
            user_agent=f"dpbuild/{__version__}",
        )

    @functools.cached_property
    def _indexes(self) -> "Indexes":
        """Package indexes, as uv and pip are configured."""
        from dpbuild.adapters.indexes import configured

        found = configured(self._env, home=self._home, prefix=sys.prefix, directory=str(self._directory))
        for note in found.notes:
            self.reporter.note(note)
        return found

    @functools.cached_property
    def resolver(self) -> "UvResolver":
        """uv."""
        from dpbuild.adapters.uv import UvResolver, find_uv

        return UvResolver(
            uv=find_uv(self._env.get("PATH", "")),
            python=sys.executable,
            cache=str(self.cache / "uv"),
            environment=self._indexes.environment,
            offline=self._settings.offline,
        )

    @functools.cached_property
    def fetcher(self) -> "HttpFetcher":
        """Downloads from package indexes."""
        from dpbuild.adapters.fetch import HttpFetcher

        def login(host: str) -> tuple[str, str] | None:
            return self._indexes.logins.get(host)

        return HttpFetcher(self.store, lambda: self._transport, login, offline=self._settings.offline)

    # images

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
                return self.registry.source(reference)
            case ComposeReference():
                return self._compose(reference, platforms, config, pinned)
            case LayoutReference():
                from dpbuild.adapters.source.layout import LayoutSource

                return LayoutSource(reference)
            case ArchiveReference():
                from dpbuild.adapters.source.archive import archive_source

                return archive_source(reference)
            case DaemonReference():
                hint = "docker save can turn it into an archive (docker-archive:FILE)"
                raise BaseImageError("images are not read out of an engine", where=str(reference), hint=hint)

    def _compose(
        self,
        reference: ComposeReference,
        platforms: Sequence[Platform],
        config: Config | None,
        pinned: tuple[tuple[str, str, str], ...],
    ) -> ImageSource:
        from datetime import UTC, datetime

        from dpbuild.adapters.debian import DebianArchive, HttpDownload, host_mirrors
        from dpbuild.adapters.source.compose import ComposeSource
        from dpbuild.debian.sources import Mirrors

        host = host_mirrors()
        mirrors = Mirrors(
            main=(config.debian_mirror if config else "") or self._env.get("DPBUILD_DEBIAN_MIRROR", "") or host.main,
            security=(config.debian_security_mirror if config else "")
            or self._env.get("DPBUILD_DEBIAN_SECURITY_MIRROR", "")
            or host.security,
        )
        if self._archive is None:
            self._archive = DebianArchive(mirrors, HttpDownload(self._transport), now=datetime.now(UTC))
        return ComposeSource(
            reference,
            tuple(platforms),
            self.store,
            self._archive,
            offline=self._settings.offline,
            pinned=dict.fromkeys(platforms, pinned) if pinned else None,
            reporter=self.reporter,
        )

    def engine(self, kind: Literal["auto", "docker", "podman"] = "auto") -> Any:
        """The Docker SDK's client of the engine that answers. Raises SandboxError."""
        from dpbuild.adapters.sandbox.connect import EngineSettings, connect

        return connect(EngineSettings.configured(self._env, self._home), kind)

    def rootfs(self, base: Base, blob: Blob) -> str:
        """The base's files, extracted and kept."""
        return self.unpacked(base.manifest.layers, blob)

    def interpreter(self, base: Base) -> Sandbox:
        """What compiles with the base's interpreter; it runs no foreign code."""
        from dpbuild.adapters.sandbox.loader import LoaderSandbox

        return LoaderSandbox()

    def backend(self, base: Base, blob: Blob, kind: str) -> "SandboxBackend":
        """What builds the app's wheel with the base's interpreter: isolated where that works."""
        from dpbuild.adapters.backend import SandboxBackend

        def start() -> tuple[Sandbox, str]:
            sandbox = self.sandbox(kind)
            if not sandbox.isolates:
                self.reporter.note(
                    f"the build backend is run by {sandbox.name}, without isolation (bubblewrap or an engine isolates)"
                )
            return sandbox, self.rootfs(base, blob)

        return SandboxBackend(base.facts, start, self.store, self.cache / "logs")

    def sandbox(self, kind: str) -> Sandbox:
        """What runs an extracted image: bubblewrap, an engine, else its own loader. Raises SandboxError."""
        from dpbuild.adapters.sandbox.choose import choose

        return choose(kind, self._env.get("PATH", ""), self.engine)

    def runner(self, kind: Literal["auto", "docker", "podman"], *, required: bool) -> "EngineRunner | None":
        """An engine that answers. Raises SandboxError if it is ``required`` and there is none."""
        from dpbuild.adapters.runner import EngineRunner

        try:
            return EngineRunner(lambda: self.engine(kind), self.host, self.reporter)
        except SandboxError:
            if required:
                raise
            return None

    def unpacked(self, layers: Sequence[Descriptor], blob: Blob) -> str:
        """The files that these layers make, extracted and kept."""
        from dpbuild.adapters import rootfs

        def opener(descriptor: Descriptor) -> Callable[[], BinaryIO]:
            return lambda: blob(descriptor)

        return rootfs.kept(self.store, [(layer, opener(layer)) for layer in layers])

    def sinks(
        self, config: Config, blob: Blob, *, push: bool, load: bool, outputs: tuple[str, ...]
    ) -> tuple[ImageSink, ...]:
        """The destinations that were asked for, registries first."""
        sinks: list[ImageSink] = []
        if push:
            from dpbuild.adapters.sink.registry import RegistrySink

            sinks.append(RegistrySink(self.registry, config.tags, blob, self.reporter))
        for output in outputs or (() if push or load else (str(Path(config.directory) / ".dpbuild" / "image"),)):
            path = Path(output).absolute()
            if output.endswith(".tar"):
                from dpbuild.adapters.sink.archive import ArchiveSink

                sinks.append(ArchiveSink(path, blob, config.tags, self.host))
            else:
                from dpbuild.adapters.sink.layout import LayoutSink

                sinks.append(LayoutSink(path, config.tags, blob))
        if load:
            from dpbuild.adapters.sink.docker import DockerSink

            sinks.append(DockerSink(self.engine, config.tags, blob, self.host, self.reporter))
        return tuple(sinks)
