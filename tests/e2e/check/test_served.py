"""Apps that a server loads: what is wrong is seen before the server says it; and mended."""

import subprocess
from collections.abc import Callable

import pytest
from derived import Derive, rules
from factories.image import File, Files

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Files]

SITE = "usr/local/lib/python3.13/dist-packages"
WSGI = "def app(environ, start):\n    start('200 OK', [])\n    return [b'']\n"


def app(source: str) -> Files:
    return {"app/web.py": File(source.encode())}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (f"import msgspec\n{WSGI}", "web:app", "No module named 'msgspec'"),
        (WSGI, "wbe:app", "No module named 'wbe'"),
    ],
)
def test_gunicorn(
    derive: Derive,
    findings: Findings,
    run_in_docker: Run,
    install: Install,
    source: str,
    target: str,
    message: str,
) -> None:
    command = ["-m", "gunicorn", "--check-config"]
    packages = install(SITE, "gunicorn", "packaging")
    broken = derive("debian13", packages, app(source), Cmd=[*command, target], WorkingDir="/app")
    assert "RUN003" in rules(findings(broken), "error")
    done = run_in_docker(broken)
    assert done.returncode != 0
    assert message in done.stderr
    mended = derive("debian13", packages, app(WSGI), Cmd=[*command, "web:app"], WorkingDir="/app")
    assert rules(findings(mended), "error") == []
    assert run_in_docker(mended).returncode == 0
