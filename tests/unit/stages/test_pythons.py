"""Which bases are named for which requires-python."""

import pytest

from dpbuild.model.config import DEFAULT_BASE
from dpbuild.stages.pythons import fitting, having

DEBIAN_12 = "gcr.io/distroless/python3-debian12:nonroot"
WOLFI = "Chainguard's and Wolfi's images have 3.14"


@pytest.mark.parametrize(
    ("wanted", "base", "known"),
    [
        ("", DEFAULT_BASE, f"{DEFAULT_BASE} has 3.13, {DEBIAN_12} has 3.11, {WOLFI}, "),
        ("<3.12", DEBIAN_12, f"{DEBIAN_12} has 3.11"),
        (">=3.14", "", WOLFI),
        ("==3.12.*", "", "chiselled Ubuntu's and Azure Linux's images have 3.12"),
        (">=4", "", "no family of bases is known to have one"),
    ],
)
def test_bases_are_named(wanted: str, base: str, known: str) -> None:
    assert fitting(wanted) == base
    assert having(wanted).startswith(known)
