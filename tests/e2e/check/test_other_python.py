"""Packages that were chosen for another Python than the image's, and bases that moved on: seen, run, and mended."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from derived import Derive, rules
from factories.image import Files
from machinery import Ran

Findings = Callable[..., list[dict[str, str]]]
Install = Callable[..., Files]
Run = Callable[..., subprocess.CompletedProcess[str]]
SITE = "usr/local/lib/python3.11/dist-packages"
MAIN = {"app/main.py": "import aiosignal, attr\nprint('fine')\n"}


def test_a_marker_of_the_host_leaves_a_requirement_out(
    derive: Derive, findings: Findings, run_in_docker: Run, install: Install
) -> None:
    """Resolved by 3.13, for which ``python_version < '3.13'`` does not hold; the source decides by the version, too."""
    parts = install(SITE, "aiosignal==1.4.0", "frozenlist==1.7.0", "attrs==25.3.0", python="3.11")
    broken = derive("debian12", MAIN | parts, Cmd=["/app/main.py"])
    (row,) = (row for row in findings(broken) if row["severity"] != "note")
    assert (row["rule"], row["severity"], row["owner"]) == ("LAY015", "warning", "aiosignal 1.4.0")
    assert "requires typing-extensions>=4.2" in row["evidence"]
    assert row["evidence"].endswith("on Python 3.11.2 it is not installed")
    assert "No module named 'typing_extensions'" in run_in_docker(broken).stderr
    mended = derive("debian12", MAIN | parts, install(SITE, "typing_extensions==4.14.1"), Cmd=["/app/main.py"])
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_an_import_that_surely_fails_is_an_error(
    derive: Derive, findings: Findings, run_in_docker: Run, install: Install
) -> None:
    """Installed without what it requires: an error where importing it always imports that."""
    parts = install(SITE, "httpcore==1.0.9", "certifi==2025.6.15", python="3.11")
    main = {"app/main.py": "import httpcore\nprint('fine')\n"}
    broken = derive("debian12", main | parts, Cmd=["/app/main.py"])
    (row,) = (row for row in findings(broken) if row["severity"] != "note")
    assert (row["rule"], row["severity"], row["owner"]) == ("LAY015", "error", "httpcore 1.0.9")
    assert row["evidence"].endswith("import httpcore fails")
    assert "No module named 'h11'" in run_in_docker(broken).stderr
    mended = derive("debian12", main | parts, install(SITE, "h11==0.16.0"), Cmd=["/app/main.py"])
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_the_base_moved_from_one_minor_to_the_next(
    derive: Derive, findings: Findings, run_in_docker: Run, install: Install
) -> None:
    """Packages for 3.11 in its folder, on a base that has 3.13 by now."""
    main = {"app/main.py": "import attr\nprint('fine')\n"}
    parts = install(SITE, "attrs==25.3.0", python="3.11")
    env = ["PATH=/usr/local/bin:/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "LANG=C.UTF-8"]
    broken = derive("debian13", main | parts, Cmd=["/app/main.py"], Env=[*env, "PYTHON_VERSION=3.11.2"])
    found = {row["rule"]: row for row in findings(broken)}
    assert {row for row in found if row.startswith(("INT", "LAY"))} == {"INT012", "LAY001"}
    assert found["INT012"]["evidence"].startswith("it is Python 3.13.5, but ")
    assert "the base has Python 3.13, the packages are for 3.11" in found["LAY001"]["fix"]
    assert "No module named 'attr'" in run_in_docker(broken).stderr
    mended = derive("debian12", main | parts, Cmd=["/app/main.py"], Env=[*env, "PYTHON_VERSION=3.11.2"])
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


@pytest.mark.network
def test_a_lock_made_on_another_base(dpbuild: Callable[..., Ran], need: Callable[..., None], tmp_path: Path) -> None:
    need("network")
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n")
    (tmp_path / "main.py").write_text("import six\n")
    config = (
        'base = "compose:{}:nonroot"\nplatforms = ["linux/amd64"]\nentrypoint = ["/app/main.py"]\nbytecode = false\n'
    )
    (tmp_path / "dpbuild.toml").write_text(config.format("debian12"))
    dpbuild("lock", tmp_path)
    (tmp_path / "dpbuild.toml").write_text(config.format("debian13"))
    for flags in (["--locked"], ["--frozen"]):
        done = dpbuild("build", tmp_path, *flags, check=False)
        assert done.status == 42, done.err
        assert "3.11" in done.err
        assert "3.13" in done.err


@pytest.mark.slow
def test_pip_at_run_time(derive: Derive, findings: Findings, run_in_docker: Run, install: Install) -> None:
    """Without pip, and with one that EXTERNALLY-MANAGED forbids to install."""
    text = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'six'], check=True)\n"
    main = {"app/main.py": text}
    none = derive("debian13", main, Cmd=["/app/main.py"])
    assert rules(findings(none)) == ["RUN009"]
    assert "No module named pip" in run_in_docker(none).stderr
    pip = install("usr/local/lib/python3.13/dist-packages", "pip==25.2")
    refuses = derive("debian13", main | pip, Cmd=["/app/main.py"])
    found = findings(refuses)
    assert "RUN009" in rules(found)
    done = run_in_docker(refuses)
    assert "externally-managed-environment" in done.stdout + done.stderr
    better = {"app/main.py": "import six\nprint('fine')\n"}
    mended = derive(
        "debian13", better | install("usr/local/lib/python3.13/dist-packages", "six==1.17.0"), Cmd=["/app/main.py"]
    )
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"
