"""Values of the PyPA specs: wheels, tags, markers, scripts, locks. Nothing of the host. No I/O."""

import re
from typing import Final

# PyPA specs, "Names and normalization".
_RUNS: Final = re.compile(r"[-_.]+")
# What a requirement begins with (PyPA specs, "Dependency specifiers").
_REQUIRED: Final = re.compile(r"\s*([A-Za-z0-9._-]+)")


def normalized(name: str) -> str:
    """The form in which names of projects, extras and groups are compared; packaging's takes long to import."""
    return _RUNS.sub("-", name).lower()


def required(requirement: str) -> str:
    """The normalised name that a requirement begins with, which is not looked at any further; "" for none."""
    found = _REQUIRED.match(requirement)
    return normalized(found[1]) if found else ""
