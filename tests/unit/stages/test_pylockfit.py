"""When a pylock.toml is doubted, and when it is not."""

import tomllib

import pytest

from dpbuild.stages.pylockfit import doubts

LOCK = """
lock-version = "1.0"
created-by = "somebody"
[[packages]]
name = "Demo_x"
version = "1.5"
[[packages]]
name = "twice"
version = "1.0"
marker = "python_version < '3.12'"
[[packages]]
name = "twice"
version = "2.0"
[[packages]]
name = "folder"
directory = {path = "x"}
"""


def found(*lines: str, text: str = LOCK) -> tuple[str, ...]:
    rows = ", ".join(repr(line) for line in lines)
    return doubts(text, tomllib.loads(f"[project]\nname = 'app'\ndependencies = [{rows}]\n"))


@pytest.mark.parametrize(
    "line",
    [
        "demo-x",
        "Demo.X[fast]>=1,<2",
        "demo-x>=1.5rc1",
        "twice==1.0",
        "folder>=7",
        "demo-x @ https://example.org/demo_x-3-py3-none-any.whl",
        # What is for some places alone need not be in a lock for others.
        "other; sys_platform == 'win32'",
        "other; python_version < '3.12'",
        "other; platform_machine == 'aarch64'",
        "demo-x>=9; python_version < '3.12'",
        "not a requirement at all",
    ],
)
def test_what_may_be_its_own(line: str) -> None:
    assert found(line) == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("other", "pylock.toml does not have other, which pyproject.toml requires"),
        ("Oth_er; sys_platform == 'linux'", "pylock.toml does not have oth-er, which pyproject.toml requires"),
        ("demo-x>=2", "pylock.toml has demo-x 1.5, and pyproject.toml requires demo-x>=2"),
        ("twice>2", "pylock.toml has twice 1.0, 2.0, and pyproject.toml requires twice>2"),
    ],
)
def test_what_may_be_older(line: str, said: str) -> None:
    assert found("demo-x", line, line) == (said,)


def test_what_cannot_be_compared() -> None:
    assert found("other", text="this is no TOML") == ()
    assert found("other", text="packages = 7") == ("pylock.toml does not have other, which pyproject.toml requires",)
    assert doubts(LOCK, {}) == doubts(LOCK, {"project": 1}) == doubts(LOCK, {"project": {"dependencies": 1}}) == ()
