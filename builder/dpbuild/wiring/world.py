"""Everything outside, as ``ports/world.py`` asks for it: sandboxes, engines and destinations on top of the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from dpbuild.errors import SandboxError
from dpbuild.model.base import Base
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.sandbox import Sandbox
from dpbuild.ports.sink import ImageSink
from dpbuild.ports.world import Blob
from dpbuild.wiring.images import Images

if TYPE_CHECKING:
    from dpbuild.adapters.backend import SandboxBackend
    from dpbuild.adapters.runner import EngineRunner


class World(Images):
    """Everything outside, made when it is first asked for."""

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

            sinks.append(RegistrySink(self.registry, tags, blob, self.reporter))
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
