"""Which sources may import a module, before any is parsed."""

import pytest
from factories.subject import SITE, make_subject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpbuild.stages.proof import reach
from dpbuild.stages.proof.reach import Modules, import_statements


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


_STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(["import", "from", "relative", "above", "guarded"]), st.integers(0, 11), st.sampled_from("ab")
    ),
    max_size=3,
)


def _written(rows: list[tuple[str, int, str]]) -> str:
    """A source with these imports of ``package.a.m3`` and its like."""
    forms = {
        "import": "import package.{1}.m{0}",
        "from": "from package.{1} import m{0}",
        "relative": "from . import m{0}",
        "above": "from ..{1}.m{0} import (\n    name,\n)",
        "guarded": "try:\n    import package.{1}.m{0}\nexcept ImportError:\n    pass",
    }
    return "\n".join(forms[kind].format(number, folder) for kind, number, folder in rows) + "\n"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sources=st.lists(_STATEMENTS, min_size=25, max_size=25))
def test_followed_from_either_end_the_same_is_executed(
    sources: list[list[tuple[str, int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = [f"package/{folder}/m{number}.py" for folder in "ab" for number in range(12)]
    names = ["package/__init__.py", *inner]
    files = {f"{SITE}/{name}": _written(rows) for name, rows in zip(names, sources, strict=True)}
    files |= {f"{SITE}/package/{folder}/__init__.py": "" for folder in "ab"}
    subject = make_subject(files)
    paths = frozenset(f"/{path}" for path in files)

    def executed(searched: int) -> frozenset[str]:
        monkeypatch.setattr(reach, "_SEARCHED", searched)
        return Modules(subject).executed(("package",), paths, f"/{SITE}", paths)

    ahead = frozenset(Modules(subject).reached(("package",), paths.__contains__))
    # From the end, and from the beginning unless everything is executed.
    assert executed(1000) == ahead
    assert executed(1) == ahead
