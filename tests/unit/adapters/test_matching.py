"""Names say of paths what pathspec says of them as patterns."""

from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from dpbuild.adapters.matching import Names

PARTS = st.lists(st.sampled_from([".git", "__pycache__", "a", ".github", "git"]), min_size=1, max_size=4)


@given(PARTS, st.booleans())
def test_names_are_what_patterns_are(parts: list[str], folder: bool) -> None:
    path = "/".join(parts) + ("/" if folder else "")
    for names in ((".git", "__pycache__/"), ()):
        assert Names(frozenset(names)).match_file(path) is GitIgnoreSpec.from_lines(names).match_file(path)
