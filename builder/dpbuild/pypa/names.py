"""Names of projects (PyPA specs, "Names and normalization")."""

import re
from typing import Final

_SEPARATORS: Final = re.compile(r"[-_.]+")


def normalised(name: str) -> str:
    """The one form of all spellings of a name: what ``packaging.utils.canonicalize_name`` says, which imports much."""
    return _SEPARATORS.sub("-", name).lower()
