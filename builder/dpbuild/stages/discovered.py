"""What a project requires: as it was found before, while what it was found in is the same.

Reading requirements takes longer than a build takes that finds the rest; comparing a ``uv.lock`` with its project more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import packaging

from dpbuild import __version__
from dpbuild.frozen import asdict
from dpbuild.model.config import Requirements
from dpbuild.oci.codec import canonical

if TYPE_CHECKING:
    from dpbuild.ports.store import Store
    from dpbuild.stages.reqfile import ReadText

_KIND: Final = "facts"
# Part of the key: whoever changes what is found in files, or what is kept of it, changes this.
_FORMAT: Final = 1


def discover(
    pyproject: Mapping[str, object],
    read: ReadText,
    *,
    extras: Sequence[str],
    groups: Sequence[str],
    text: str,
    store: Store | None,
) -> Requirements:
    """As ``requirements.discover``, which is asked only for what ``store`` does not know. ``text`` is what
    ``pyproject`` was parsed from.
    """
    parts = [_FORMAT, __version__, packaging.__version__, _hash(text), list(extras), list(groups)]
    key = f"requirements-{hashlib.sha256(canonical(parts)).hexdigest()}"
    if store is not None and (found := _recall(store.get(_KIND, key), read)) is not None:
        return found
    from dpbuild.stages import requirements

    seen: dict[str, str] = {}

    def reading(name: str) -> str | None:
        content = read(name)
        seen[name] = _hash(content)
        return content

    found = requirements.discover(pyproject, reading, extras=extras, groups=groups, text=text)
    if store is not None:
        store.put(_KIND, key, canonical({"seen": seen, "found": asdict(found)}))
    return found


def _recall(data: bytes | None, read: ReadText) -> Requirements | None:
    """What was kept, if all files that were read then are as they were."""
    if data is None:
        return None
    kept = json.loads(data)
    if any(_hash(read(name)) != said for name, said in kept["seen"].items()):
        return None
    return Requirements(**{name: _tuples(value) for name, value in kept["found"].items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _hash(text: str | None) -> str:
    """Of a text; "" for a file that is not there."""
    return "" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
