"""The Docker engine's own store: ``--load``."""

import contextlib
from collections.abc import Callable
from typing import Any

from dpbuild.adapters.sandbox.trouble import problems
from dpbuild.adapters.sink.archive import Blob, archive_chunks, for_host, named
from dpbuild.errors import SandboxError
from dpbuild.model.image import Images, Written
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.reporter import Reporter


class DockerSink:
    """Streams an archive to the engine; nothing is written to disk on the way.

    ``connect`` gives the Docker SDK's low-level client (``docker.APIClient``) or raises SandboxError. Of several
    platforms the engine's own is loaded, and that is said.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        tags: tuple[RegistryReference, ...],
        blob: Blob,
        host: Platform,
        reporter: Reporter,
    ) -> None:
        self._connect = connect
        self._tags = tags
        self._blob = blob
        self._host = host
        self._reporter = reporter

    def check(self, images: Images | None = None) -> None:
        """Whether an engine answers. Raises SandboxError (100)."""
        self._connect().close()

    def write(self, images: Images) -> Written:
        """Load it, unless the engine has it under all its names. Raises SandboxError, StoreError."""
        client = self._connect()
        with contextlib.closing(client), problems("the engine refused the image"):
            host = self._engine_platform(client)
            image = for_host(images, host)
            if len(images.images) > 1:
                self._reporter.note(f"of several platforms the engine's own is loaded: {image.platform}")
            one = Images(descriptor=image.descriptor, images=(image,))
            size = sum(layer.size for layer in image.manifest.layers)
            found = self._known(client, one)
            loaded = found is None
            if loaded:
                with self._reporter.step("loading into the engine", size):
                    self._load(client, one, host)
                found = self._known(client, one)
            if found is None:
                raise SandboxError("the engine took the image, and does not know it", where=str(image.descriptor))
            for tag in self._tags:
                client.tag(found, tag.name, tag.tag or "latest", force=True)
        return Written(
            kind="docker",
            reference=f"docker-daemon:{found}",
            tags=tuple(named(tag) for tag in self._tags),
            descriptor=image.descriptor,
            platforms=(image.platform,),
            sent=size if loaded else 0,
            present=0 if loaded else size,
        )

    def _engine_platform(self, client: Any) -> Platform:
        about = client.version()
        return Platform(str(about.get("Os", "linux")), str(about.get("Arch", self._host.architecture))).normalized()

    @staticmethod
    def _known(client: Any, images: Images) -> str | None:
        """The id under which the engine has the image: its config's digest, or the manifest's with containerd."""
        import docker.errors

        image = images.images[0]
        for digest in (image.manifest.config.digest, image.descriptor.digest):
            try:
                return str(client.inspect_image(str(digest))["Id"])
            except docker.errors.ImageNotFound:
                continue
        return None

    def _load(self, client: Any, images: Images, host: Platform) -> None:
        chunks = archive_chunks(images, self._blob, self._tags, host)
        for row in client.load_image(chunks):
            if isinstance(row, dict) and row.get("error"):
                raise SandboxError(f"the engine refused the image: {str(row['error']).strip()}")
