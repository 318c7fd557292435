"""Docker's patterns: Go's filepath.Match with ``**``, from the top, the last match wins."""

import pytest

from dpbuild.adapters.dockerignore import DockerIgnore


@pytest.mark.parametrize(
    ("pattern", "path", "out"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("a", "ab", False),
        ("/a", "a", True),
        ("./a/", "a/b", True),
        ("a/../b", "b", True),
        ("*", "a/b", True),
        ("*.py", "a.py", True),
        ("*.py", "sub/a.py", False),
        ("*/*.py", "sub/a.py", True),
        ("**/*.py", "a.py", True),
        ("**/*.py", "x/y/a.py", True),
        ("a/**", "a/x/y", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z/below", True),
        ("a/**/z", "a/b/cz", False),
        ("?.py", "a.py", True),
        ("?.py", "ab.py", False),
        ("a?b", "a/b", False),
        ("[ab].py", "b.py", True),
        ("[^ab].py", "b.py", False),
        ("[^ab].py", "c.py", True),
        ("a[/]b", "a/b", False),
        ("[", "[", True),
        ("[z-a]", "[z-a]", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.b", "axb", False),
        ("a+(b)", "a+(b)", True),
        ("  a  ", "a", True),
        ("#a", "#a", False),
        ("", "a", False),
        (".", "a", False),
        ("!a", "a", False),
    ],
)
def test_one_pattern(pattern: str, path: str, out: bool) -> None:
    assert DockerIgnore([pattern]).leaves_out(path) is out


@pytest.mark.parametrize(
    ("lines", "path", "out"),
    [
        (["*", "!a"], "a/b", False),
        (["*", "!a", "a/b"], "a/b", True),
        (["*", "!a/b/c"], "a/b/c", False),
        (["*", "!a/b/c"], "a/b/d", True),
        (["!a", "a"], "a", True),
        (["*.md", "! README.md"], "README.md", False),
    ],
)
def test_the_last_match_decides(lines: list[str], path: str, out: bool) -> None:
    assert DockerIgnore(lines).leaves_out(path) is out
