"""Evidence on its way into a repository: behind what it is about, and before any tag names that."""

import io

from dpbuild.model.image import Images
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.registry import Registry


def attach(registry: Registry, place: RegistryReference, images: Images, *, new: bool) -> None:
    """Attach what is not attached yet. ``new`` says that no tag of the repository names the image so far.

    Where one does, the list of what refers to it answers for all of it, because it is the last to be written.
    """
    whole, rows = images.descriptor, images.referrers_in(place.name)
    if not new:
        there = {row.digest for row in registry.referrers(place, whole.digest)}
        if all(row.descriptor.digest in there for row in rows if row.subject.digest == whole.digest):
            return
    for row in rows:
        for descriptor, content in row.blobs:
            registry.push_blob(place, descriptor, lambda content=content: io.BytesIO(content))  # type: ignore[misc]
    registry.attach(place, rows)
