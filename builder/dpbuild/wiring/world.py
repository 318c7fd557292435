"""Everything outside, as ``ports/world.py`` asks for it: sandboxes, engines and destinations on top of the rest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from dpbuild.errors import SandboxError
from dpbuild.wiring.images import Images

if TYPE_CHECKING:
    from dpbuild.adapters.backend import Outside
    from dpbuild.adapters.builder import DebianBuilders
    from dpbuild.adapters.builders import SandboxBuilders
    from dpbuild.adapters.keyless import Identity, Keyless
    from dpbuild.adapters.runner import EngineRunner
    from dpbuild.adapters.signing import PrivateKey, PublicKey
    from dpbuild.model.base import Base
    from dpbuild.model.config import Config
    from dpbuild.oci.descriptor import Descriptor
    from dpbuild.oci.reference import RegistryReference
    from dpbuild.ports.sandbox import Sandbox
    from dpbuild.ports.sink import ImageSink
    from dpbuild.ports.world import Blob


_PROXIES = tuple(name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper()))


class World(Images):
    """Everything outside, made when it is first asked for."""

    def rootfs(self, base: Base, blob: Blob) -> str:
        """The base's files, extracted and kept."""
        return self.unpacked(base.manifest.layers, blob)

    def interpreter(self, base: Base) -> Sandbox:
        """What compiles with the base's interpreter; it runs no foreign code."""
        from dpbuild.adapters.sandbox.loader import LoaderSandbox

        return LoaderSandbox()

    def builders(self, config: Config, blob: Blob, kind: str) -> SandboxBuilders:
        """What builds wheels with the base's interpreter: isolated where that works."""
        from dpbuild.adapters.builders import SandboxBuilders

        def base_folder(base: Base) -> str:
            return self.rootfs(base, blob)

        @functools.cache
        def debian() -> DebianBuilders:
            from dpbuild.adapters.builder import DebianBuilders

            archive = None if self._settings.offline else self.debian(config)
            return DebianBuilders(archive, self.store, self.reporter, base_folder)

        def outside() -> Outside:
            from dpbuild.adapters.backend import Outside

            return Outside(
                env=tuple((name, self._env[name]) for name in _PROXIES if name in self._env),
                ca_bundle=self._env.get("SSL_CERT_FILE", ""),
            )

        image = None
        if config.builder.image:
            from dpbuild.adapters.builder_image import ImageBuilder

            image = ImageBuilder(
                config.builder.image,
                lambda reference, platform: self.source(reference, (platform,), config),
                self.store,
                self.reporter,
                self.unpacked,
            )
        return SandboxBuilders(
            debian=debian,
            image=image,
            sandbox=functools.cache(lambda: self.sandbox(kind)),
            base_folder=base_folder,
            store=self.store,
            logs=self.cache / "logs",
            config=config.builder,
            reporter=self.reporter,
            indexes=self.host_indexes,
            outside=outside,
            offline=self._settings.offline,
        )

    def signer(self, path: str) -> PrivateKey:
        """The private key in a file; its password comes from the environment. Raises UsageError."""
        from dpbuild.adapters.signing import key_file, private_key

        password = self._env.get("DPBUILD_SIGN_PASSWORD") or self._env.get("COSIGN_PASSWORD")
        return private_key(key_file(path), password, path)

    def verifier(self, pem: bytes, where: str) -> PublicKey:
        """A public key. Raises UsageError."""
        from dpbuild.adapters.signing import public_key

        return public_key(pem, where)

    def keyless(self, trust_config: str) -> Keyless:
        """Who these surroundings say that we are. Raises UsageError, RegistryError."""
        from dpbuild.adapters.keyless import Keyless, trust

        return Keyless(trust(trust_config, offline=self._settings.offline), self._env.get("SIGSTORE_ID_TOKEN", ""))

    def identity(self, identity: str, issuer: str, trust_config: str) -> Identity:
        """Who has to have signed. Raises UsageError, RegistryError."""
        from dpbuild.adapters.keyless import Identity, trust

        return Identity(trust(trust_config, offline=self._settings.offline), identity, issuer)

    def sandbox(self, kind: str) -> Sandbox:
        """What runs an extracted image: bubblewrap, an engine, else its own loader. Raises SandboxError."""
        from dpbuild.adapters.sandbox.choose import choose

        return choose(kind, self._env.get("PATH", ""), self.engine)

    def runner(self, kind: Literal["auto", "docker", "podman"], *, required: bool) -> EngineRunner | None:
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
        self,
        tags: tuple[RegistryReference, ...],
        blob: Blob,
        *,
        push: bool,
        load: bool,
        outputs: tuple[str, ...],
    ) -> tuple[ImageSink, ...]:
        """The destinations that were asked for, registries first."""
        sinks: list[ImageSink] = []
        if push:
            from dpbuild.adapters.sink.registry import RegistrySink

            sinks.append(RegistrySink(self.registry, tags, blob, self.reporter, store=self.store))
        for output in outputs:
            path = Path(output).absolute()
            if output.endswith(".tar"):
                from dpbuild.adapters.sink.archive import ArchiveSink

                sinks.append(ArchiveSink(path, blob, tags, self.host))
            else:
                from dpbuild.adapters.sink.layout import LayoutSink

                sinks.append(LayoutSink(path, tags, blob))
        if load:
            from dpbuild.adapters.sink.docker import DockerSink

            sinks.append(DockerSink(self.engine, tags, blob, self.host, self.reporter))
        return tuple(sinks)
