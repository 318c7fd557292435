"""Which wheels share a layer.

A big wheel has a layer of its own. Small ones are put into a fixed number of groups by a hash of their
name, so that a wheel never moves because another one changed: one changed dependency is one changed layer.
Pure and native wheels are kept apart, so that the groups of pure ones are the same blobs for every machine.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from dpbuild.model.artifact import Artifact

# A wheel of this many bytes is worth a request and an extraction of its own.
BIG: Final = 4 * 1024 * 1024
GROUPS: Final = 4
# overlayfs as Docker mounts it takes 127 layers at the most (moby, daemon/graphdriver/overlay2, "maxDepth");
# some are left for whoever builds upon the image.
BUDGET: Final = 120


def group(artifacts: Iterable[Artifact], taken: int) -> tuple[tuple[Artifact, ...], ...]:
    """The wheels of each layer, layers in their order in the image, wheels sorted by name.

    ``taken`` is how many layers the image has besides: the base's and the app's.
    """
    ordered = sorted(artifacts, key=lambda each: each.name)
    room = max(0, BUDGET - taken - 2 * GROUPS)
    big = sorted((each for each in ordered if each.size >= BIG), key=lambda each: (-each.size, each.name))[:room]
    alone = {each.name for each in big}
    buckets: dict[tuple[bool, int], list[Artifact]] = {}
    for each in ordered:
        if each.name not in alone:
            number = hashlib.sha256(each.name.encode()).digest()[0] % GROUPS
            buckets.setdefault((each.pure, number), []).append(each)
    return (
        *((each,) for each in ordered if each.name in alone),
        *(tuple(buckets[key]) for key in sorted(buckets)),
    )
