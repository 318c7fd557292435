"""Which wheels share a layer, and which have several.

A big wheel has a layer of its own. Small ones are put into a fixed number of groups by a hash of their
name, so that a wheel never moves because another one changed: one changed dependency is one changed layer.
Pure and native wheels are kept apart, so that the groups of pure ones are the same blobs for every machine.

A very large wheel has several layers. One is written, sent, fetched and unpacked by one process after the other;
several are by several at once, and what was finished when something fails need not be done again. Where its parts
end depends on the wheel, and on the others only where an image has no room for all parts of large ones.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from dpbuild.model.artifact import Artifact

# A wheel of this many bytes is worth a request and an extraction of its own.
BIG: Final = 4 * 1024 * 1024
GROUPS: Final = 4
# Bytes of a wheel from which on it is divided into layers of about as many, and those that such a layer has at least. A
# file is never divided.
LARGEST: Final = 64 << 20
SMALLEST: Final = BIG
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


def spread(groups: Sequence[tuple[Artifact, ...]], taken: int) -> dict[tuple[Artifact, ...], int]:
    """How many layers the wheels of each group may become: more than one only for a very large wheel, as far as an
    image may have so many; ``taken`` are the image's other layers.
    """
    large = sorted(
        (row for row in groups if len(row) == 1 and row[0].size >= BIG), key=lambda row: (-row[0].size, row[0].name)
    )
    # As for groups, small wheels decide nothing. The last one is left free: from BUDGET on, ``check`` warns.
    left = max(0, BUDGET - 1 - taken - 2 * GROUPS - len(large))
    numbers = dict.fromkeys(groups, 1)
    for members in large:
        more = min(left, (members[0].size - 1) // LARGEST)
        numbers[members] += more
        left -= more
    return numbers


def borders(files: Iterable[tuple[str, int]], number: int) -> tuple[str, ...]:
    """What each of up to ``number`` parts of about the same size begins with, "" for the first.

    ``files`` are paths and compressed bytes. No part is smaller than a wheel that has a layer of its own.
    """
    sizes: dict[str, int] = {}
    for path, size in files:
        place = _decisive(path)
        sizes[place] = sizes.get(place, 0) + size
    total = max(1, sum(sizes.values()))
    found, passed, part, begun = [""], 0, 0, 0
    for path in sorted(sizes):
        # A file is in the part that its middle is in.
        here = min(number - 1, (2 * passed + sizes[path]) * number // (2 * total))
        if here > part and passed - begun >= max(1, SMALLEST) and total - passed >= SMALLEST:
            part, begun = here, passed
            found.append(path)
        passed += sizes[path]
    return tuple(found)


def divided(files: Iterable[tuple[str, str]], begins: tuple[str, ...]) -> list[list[str]]:
    """The names that go into each part, of pairs of a name and the path in the wheel."""
    parts: list[list[str]] = [[] for _ in begins]
    for name, path in files:
        parts[bisect_right(begins, _decisive(path)) - 1].append(name)
    return parts


def _decisive(path: str) -> str:
    """The path that decides where a file goes: bytecode lies with its source (PEP 3147)."""
    folder, _, name = path.rpartition("/")
    if not folder.endswith("/__pycache__"):
        return path
    return f"{folder.removesuffix('__pycache__')}{name.partition('.')[0]}.py"
