"""Parts of a large wheel, each of which becomes a layer.

One layer is written, sent, fetched and unpacked by one process after the other; several are by several at once, and
what was finished when something fails need not be done again. Where the parts end depends on the wheel alone.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from dpbuild.model.artifact import Artifact
from dpbuild.stages.layers.group import BUDGET

# Compressed bytes of a wheel that a layer may have; a file is never divided.
LARGEST: Final = 64 << 20


def spread(groups: Sequence[tuple[Artifact, ...]], taken: int) -> dict[tuple[Artifact, ...], int]:
    """How many layers the wheels of each group may become: more than one only for a large wheel, as far as an image
    may have so many; ``taken`` are the image's other layers.
    """
    left = max(0, BUDGET - taken - len(groups))
    numbers = dict.fromkeys(groups, 1)
    for members in sorted(groups, key=lambda row: (-row[0].size, row[0].name)):
        if len(members) == 1:
            more = min(left, (members[0].size - 1) // LARGEST)
            numbers[members] += more
            left -= more
    return numbers


def borders(sizes: Mapping[str, int], number: int) -> tuple[str, ...]:
    """The path that each of up to ``number`` parts of about the same size begins with, "" for the first.

    ``sizes`` are compressed bytes by path.
    """
    total = max(1, sum(sizes.values()))
    found, passed, part = [""], 0, 0
    for path in sorted(sizes):
        # A file is in the part that its middle is in.
        here = min(number - 1, (2 * passed + sizes[path]) * number // (2 * total))
        if here > part and passed:
            part = here
            found.append(path)
        passed += sizes[path]
    return tuple(found)


def divided(paths: Iterable[tuple[str, str]], begins: tuple[str, ...]) -> list[list[str]]:
    """The names that go into each part, of pairs of a name and the path that decides."""
    parts: list[list[str]] = [[] for _ in begins]
    for name, path in paths:
        parts[bisect_right(begins, path) - 1].append(name)
    return parts
