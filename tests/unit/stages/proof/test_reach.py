"""Which sources may import a module, before any is parsed."""

import pytest

from dpbuild.stages.proof.reach import import_statements


@pytest.mark.parametrize(
    "text",
    [
        b"import a.word\n",
        b"x = 1; import a, word\n",
        b"from . import (  # a comment with )\n    one,\n    word,\n)\n",
        b"from .word \\\n  import one\n",
        b"from . import one, \\\r\n    word\r\n",
        b"    from .. import word as other\n",
        b"from .word \\\r\n  .b \\\r\n  import one\r\n",
        b"from a import (one,  # import (\n  two, word)",
        b"import a; from b import word",
    ],
)
def test_every_way_to_write_an_import_counts(text: bytes) -> None:
    assert b"word" in import_statements(text)


@pytest.mark.parametrize("text", [b"import os\nword = 1\n", b"from a import (\n  b,\n)\nword()\n", b"'word'\n"])
def test_a_word_elsewhere_does_not(text: bytes) -> None:
    assert b"word" not in import_statements(text)
