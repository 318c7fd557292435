"""Facts as JSON: for the store, and for what ``inspect --json`` prints."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dpbuild.model.facts import Facts, Libc, SystemPackage


def encode(facts: Facts) -> dict[str, Any]:
    """Facts as a JSON object; the names are the fields' own."""
    value = dataclasses.asdict(facts)
    value["libc"]["version"] = list(facts.libc.version)
    for name in ("extension_suffixes", "site_directories", "packages"):
        value[name] = list(value[name])
    return value


def decode(value: Mapping[str, Any]) -> Facts:
    """What ``encode`` made. Raises ValueError for anything else."""
    try:
        rest = dict(value)
        libc = dict(rest.pop("libc"))
        major, minor = libc.pop("version")
        return Facts(
            libc=Libc(version=(int(major), int(minor)), **libc),
            packages=tuple(SystemPackage(**row) for row in rest.pop("packages")),
            extension_suffixes=tuple(rest.pop("extension_suffixes")),
            site_directories=tuple(rest.pop("site_directories")),
            **rest,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ValueError(f"not facts: {problem}") from None
