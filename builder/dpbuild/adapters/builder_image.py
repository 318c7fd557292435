"""A builder that is an image which the configuration names: read like a base, and unpacked when something is built."""

from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from dpbuild.frozen import replace
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference, LayoutReference, Reference, RegistryReference, parse
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.source import ImageSource
from dpbuild.ports.store import Store
from dpbuild.stages import builder as stage
from dpbuild.stages.base import fetch_layers, read_base

Layers = Sequence[Descriptor]
# Those that can be asked for by digest again.
_PINNED: Final = (RegistryReference, LayoutReference, ComposeReference)


class ImageBuilder:
    """``source`` gives where an image is read from, ``unpacked`` the folder that its layers make."""

    def __init__(
        self,
        image: str,
        source: Callable[[Reference, Platform], ImageSource],
        store: Store,
        reporter: Reporter,
        unpacked: Callable[[Layers, Callable[[Descriptor], BinaryIO]], str],
    ) -> None:
        self._image = image
        self._source = source
        self._store = store
        self._reporter = reporter
        self._unpacked = unpacked
        self._read: dict[tuple[Platform, str], tuple[Base, ImageSource]] = {}

    def plan(self, base: Base) -> BuilderPlan:
        """The image as it is now, if it matches the base. Raises TargetError, and what reading an image raises."""
        found, _ = self._base(base.platform, "")
        stage.check(base.facts, found.facts)
        return BuilderPlan(
            platform=str(base.platform),
            base=str(base.descriptor.digest),
            image=self._image,
            image_digest=str(found.root.digest),
        )

    def read(self, base: Base, plan: BuilderPlan) -> Base:
        """The image of a plan, which matches the base. Raises TargetError."""
        found, _ = self._base(base.platform, plan.image_digest)
        stage.check(base.facts, found.facts)
        return found

    def folder(self, base: Base, plan: BuilderPlan) -> str:
        """Its files, unpacked."""
        found, source = self._base(base.platform, plan.image_digest)
        fetch_layers(source, found.manifest.layers, self._store, self._reporter)
        return self._unpacked(found.manifest.layers, lambda row: self._store.open(row.digest))

    def _base(self, platform: Platform, digest: str) -> tuple[Base, ImageSource]:
        key = platform, digest
        if key not in self._read:
            reference = parse(self._image)
            if digest and isinstance(reference, _PINNED):
                reference = replace(reference, digest=Digest.parse(digest))
            source = self._source(reference, platform)
            found = read_base(reference, source, platform, self._store, self._reporter)
            self._read[key] = self._read[platform, str(found.root.digest)] = found, source
        return self._read[key]
