"""INT: images that do not start Python, or start it with the wrong thing."""

import pytest
from factories.subject import PYTHON, base, found, ids, make_subject

from dpbuild.stages.proof.interpreter import script


def test_nothing_is_wrong_with_the_base() -> None:
    subject = make_subject()
    assert subject.trouble == ""
    assert found(subject) == ()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), ""),
        (("/app/main.py", "-x"), "/app/main.py"),
        (("-m", "api"), ""),
        (("-um", "api"), ""),
        (("-c", "1"), ""),
        (("-W", "error", "main.py"), "main.py"),
        (("-Werror", "main.py"), "main.py"),
        (("-X", "dev", "-u", "main.py"), "main.py"),
        (("--check-hash-based-pycs", "never", "main.py"), "main.py"),
        (("--", "-odd.py"), "-odd.py"),
        (("-",), ""),
        (("-V",), ""),
    ],
)
def test_the_script_among_the_arguments(arguments: tuple[str, ...], name: str) -> None:
    assert script(arguments) == name


def test_a_program_as_a_script() -> None:
    (row,) = found(make_subject(cmd=("/usr/bin/python3", "/app/main.py")), "INT002")
    assert row.path == PYTHON
    assert row.evidence.startswith("argv is /usr/bin/python3.13 /usr/bin/python3 /app/main.py: ")


def test_no_interpreter() -> None:
    assert "INT001" in ids(make_subject(below=base()[:1]))
