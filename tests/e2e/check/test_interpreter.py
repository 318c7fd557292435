"""INT: images that do not start Python, or start it with the wrong thing."""

import subprocess
from collections.abc import Callable

import pytest
from derived import Derive, rules

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
MAIN = {"app/main.py": "print('fine')\n"}


@pytest.mark.parametrize(
    ("suite", "message"),
    [("debian12", "Non-UTF-8 code starting with"), ("debian13", "source code cannot contain null bytes")],
)
def test_the_interpreter_as_its_own_script(
    derive: Derive, findings: Findings, run_in_docker: Run, suite: str, message: str
) -> None:
    broken = derive(suite, MAIN, Cmd=["/usr/bin/python3", "/app/main.py"])
    assert rules(findings(broken)) == ["INT002"]
    done = run_in_docker(broken)
    assert done.returncode == 1
    assert message in done.stderr
    mended = derive(suite, MAIN, Cmd=["/app/main.py"])
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"
