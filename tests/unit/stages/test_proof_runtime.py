"""RUN: apps that look for modules in places of their own."""

import pytest
from factories.image import File
from factories.subject import found, make_subject

from dpbuild.model.finding import Severity


@pytest.mark.parametrize(
    ("source", "severity"),
    [
        (b"import pkg\n", Severity.ERROR),
        (b"import sys\nsys.path.append('/app/x')\nimport pkg\n", Severity.WARNING),
        (b"import site\nsite.addsitedir('/app/x')\nimport pkg\n", Severity.WARNING),
    ],
)
def test_a_module_that_the_app_may_find_by_itself(source: bytes, severity: Severity) -> None:
    files = {"app/main.py": File(source), "app/x/pkg/__init__.py": File(b"")}
    (row,) = found(make_subject(files, cmd=("/app/main.py",)), "RUN003")
    assert row.severity is severity
