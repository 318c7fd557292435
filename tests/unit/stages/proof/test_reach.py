"""Which sources may import a module, before any is parsed."""

import pytest

from dpbuild.stages.proof.reach import _may_import


@pytest.mark.parametrize(
    "text",
    [
        b"import a.word\n",
        b"x = 1; import a, word\n",
        b"from . import (  # a comment with )\n    one,\n    word,\n)\n",
        b"from .word \\\n  import one\n",
        b"from . import one, \\\r\n    word\r\n",
        b"    from .. import word as other\n",
    ],
)
def test_every_way_to_write_an_import_counts(text: bytes) -> None:
    assert _may_import(text, b"word")


@pytest.mark.parametrize("text", [b"import os\nword = 1\n", b"from a import (\n  b,\n)\nword()\n", b"'word'\n"])
def test_a_word_elsewhere_does_not(text: bytes) -> None:
    assert not _may_import(text, b"word")
