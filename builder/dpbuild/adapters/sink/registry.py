"""Pushing to registries (OCI distribution spec, "Push")."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from dpbuild.model.image import Images, Written
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.registry import Registry
from dpbuild.ports.reporter import Reporter

_THREADS = 4


class RegistrySink:
    """Pushes under all ``tags``. ``blob`` opens a layer, fetching it from the base if it is not in the store.

    Blobs first, then manifests, then the index, tags last: nobody ever sees a tag of an image that is not all
    there. A tag that names the image already costs one request.
    """

    def __init__(
        self,
        registry: Registry,
        tags: tuple[RegistryReference, ...],
        blob: Callable[[Descriptor], BinaryIO],
        reporter: Reporter,
    ) -> None:
        self._registry = registry
        self._tags = tags
        self._blob = blob
        self._reporter = reporter

    def check(self) -> None:
        """Nothing can be known before something is sent."""

    def write(self, images: Images) -> Written:
        """Push it. Raises Unauthorized, RateLimited, RegistryError."""
        sent = present = 0
        repositories: dict[str, list[RegistryReference]] = {}
        for tag in self._tags:
            repositories.setdefault(tag.name, []).append(tag)
        done: list[RegistryReference] = []
        for tags in repositories.values():
            missing = [tag for tag in tags if not self._names(tag, images)]
            if len(missing) < len(tags):
                present += _size(images)
            else:
                moved, there = self._push_blobs(tags[0], images, done)
                sent, present = sent + moved, present + there
                self._push_children(tags[0], images)
            data = images.index_bytes or images.images[0].manifest_bytes
            for tag in missing:
                self._registry.push_manifest(tag, images.descriptor.media_type, data)
            done.append(tags[0])
        first = self._tags[0]
        return Written(
            kind="registry",
            reference=f"{first.name}@{images.descriptor.digest}",
            tags=tuple(str(tag) for tag in self._tags),
            descriptor=images.descriptor,
            platforms=tuple(image.platform for image in images.images),
            sent=sent,
            present=present,
        )

    def _names(self, tag: RegistryReference, images: Images) -> bool:
        """Whether the tag names the image now."""
        found = self._registry.head_manifest(tag)
        return found is not None and found.digest == images.descriptor.digest

    def _push_children(self, repository: RegistryReference, images: Images) -> None:
        """The manifests that an index names; a single image is pushed under its tags."""
        if images.index_bytes:
            for image in images.images:
                self._registry.push_manifest(
                    repository.at(image.descriptor.digest), image.descriptor.media_type, image.manifest_bytes
                )

    def _push_blobs(
        self, repository: RegistryReference, images: Images, done: list[RegistryReference]
    ) -> tuple[int, int]:
        """Layers and configs; returns the bytes that were sent and those that were there."""
        import io

        jobs: dict[str, tuple[Descriptor, Callable[[], BinaryIO], RegistryReference | None]] = {}
        for image in images.images:
            for number, layer in enumerate(image.manifest.layers):
                origin = done[0] if done and done[0].registry == repository.registry else None
                base = image.base
                if (
                    origin is None
                    and number < image.base_layers
                    and isinstance(base, RegistryReference)
                    and base.registry == repository.registry
                    and base.repository != repository.repository
                ):
                    origin = base
                jobs[str(layer.digest)] = (layer, _opener(self._blob, layer), origin)
            config = image.config_bytes
            jobs[str(image.manifest.config.digest)] = (
                image.manifest.config,
                lambda data=config: io.BytesIO(data),  # type: ignore[misc]  # bound now, since the loop goes on
                None,
            )
        total = sum(row.size for row, _, _ in jobs.values())
        sent = 0
        with self._reporter.step(f"pushing to {repository.name}", total) as step:

            def push(job: tuple[Descriptor, Callable[[], BinaryIO], RegistryReference | None]) -> int:
                descriptor, content, origin = job
                moved = self._registry.push_blob(repository, descriptor, content, origin)
                step.advance(descriptor.size)
                return descriptor.size if moved else 0

            with ThreadPoolExecutor(_THREADS) as pool:
                sent = sum(pool.map(push, jobs.values()))
            step.done(f"{sent / 1e6:.1f} MB sent")
        return sent, total - sent


def _opener(blob: Callable[[Descriptor], BinaryIO], layer: Descriptor) -> Callable[[], BinaryIO]:
    return lambda: blob(layer)


def _size(images: Images) -> int:
    layers = {layer.digest: layer.size for image in images.images for layer in image.manifest.layers}
    return sum(layers.values()) + sum(len(image.config_bytes) for image in images.images)
