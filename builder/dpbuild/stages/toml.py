"""Locks in TOML, of which each text is read once: one of a hundred packages takes as long as all else in a small build.

For locks alone, which hold no logins: what is read stays in the store.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dpbuild.ports.store import Store

_KIND: Final = "facts"
# Part of the key: what is read is what this version of Python reads.
_FORMAT: Final = f"1-{sys.version_info.major}.{sys.version_info.minor}"


def loads(text: str, store: Store | None) -> dict[str, Any]:
    """As ``tomllib.loads``, which is asked only for texts that ``store`` does not know. Raises TOMLDecodeError."""
    key = f"toml-{_FORMAT}-{hashlib.sha256(text.encode()).hexdigest()}"
    kept = None if store is None else store.get(_KIND, key)
    if kept is not None:
        found: dict[str, Any] = json.loads(kept)
        return found
    import tomllib

    found = tomllib.loads(text)
    if store is not None and (data := _json(found)) is not None:
        store.put(_KIND, key, data)
    return found


def _json(table: dict[str, Any]) -> bytes | None:
    """The same as JSON; None for what JSON has no words for: times, and numbers that are none."""
    try:
        return json.dumps(table, allow_nan=False).encode()
    except (TypeError, ValueError):
        return None
