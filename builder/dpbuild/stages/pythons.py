"""Which bases have which Python, as far as it is known of the families of bases (docs/bases.md)."""

from typing import Final

from dpbuild.model.config import DEFAULT_BASE

# The bases that the default's registry has, newest first, and their Python.
DISTROLESS: Final = ((DEFAULT_BASE, "3.13"), (DEFAULT_BASE.replace("debian13", "debian12"), "3.11"))
# Whose images have others; what they are called depends on where they are had from.
_FAMILIES: Final = (("3.14", "Chainguard's and Wolfi's"), ("3.12", "chiselled Ubuntu's and Azure Linux's"))
_PATCHES: Final = 30


def fitting(requires_python: str) -> str:
    """The newest distroless base whose Python is allowed, the default where nothing is said that can be read; "" for
    none.
    """
    from packaging.specifiers import InvalidSpecifier

    try:
        return next((base for base, minor in DISTROLESS if _allows(requires_python, minor)), "")
    except InvalidSpecifier:
        return DEFAULT_BASE


def having(requires_python: str) -> str:
    """Which bases are known to have a Python that a version specifier allows, as half a sentence."""
    found = [f"{base} has {minor}" for base, minor in DISTROLESS if _allows(requires_python, minor)]
    found += [f"{whose} images have {minor}" for minor, whose in _FAMILIES if _allows(requires_python, minor)]
    return ", ".join(found) or "no family of bases is known to have one"


def _allows(requires_python: str, minor: str) -> bool:
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(requires_python)
    return any(allowed.contains(f"{minor}.{patch}") for patch in range(_PATCHES))
