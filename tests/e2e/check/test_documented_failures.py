"""Three failures that the documentation of python3-debian blames on the ABI; none of them has to do with it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from derived import Derive, rules
from factories.image import File, Files
from machinery import ComposedBase

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("arguments", [["/app/main.py"], ["-m", "your_module"]])
def test_non_utf8_is_the_entrypoint(
    derive: Derive, findings: Findings, run_in_docker: Run, arguments: list[str]
) -> None:
    """``SyntaxError: Non-UTF-8 code``: the second form is the one that the documentation recommends."""
    code: Files = {"app/main.py": File(b"print('fine')\n"), "home/nonroot/your_module.py": File(b"print('fine')\n")}
    broken = derive("debian12", code, Cmd=["/usr/bin/python3", *arguments])
    (row,) = findings(broken)
    assert row["rule"] == "INT002"
    assert row["path"] == "/usr/bin/python3.11"
    assert "would read the program /usr/bin/python3 (x86_64 ELF) as Python source" in row["evidence"]
    assert "Non-UTF-8 code starting with" in run_in_docker(broken).stderr
    mended = derive("debian12", code, Cmd=arguments)
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_no_module_named_is_the_folder(
    derive: Derive, findings: Findings, run_in_docker: Run, install: Callable[..., Files]
) -> None:
    """``No module named <package>``: packages for 3.12, copied with their folder to a base with 3.13."""
    main: Files = {"app/main.py": File(b"import markupsafe\nprint('fine')\n")}
    folder = "usr/local/lib/python3.12/site-packages"
    broken = derive("debian13", main, install(folder, "markupsafe==3.0.2", python="3.12"), Cmd=["/app/main.py"])
    (row,) = (row for row in findings(broken) if row["rule"].startswith("LAY"))
    assert (row["rule"], row["severity"], row["path"]) == ("LAY001", "error", f"/{folder}")
    assert "which is Python 3.13.5; the folder is for Python 3.12" in row["evidence"]
    assert "No module named 'markupsafe'" in run_in_docker(broken).stderr
    own = install("usr/local/lib/python3.13/dist-packages", "markupsafe==3.0.2", python="3.13")
    mended = derive("debian13", main, own, Cmd=["/app/main.py"])
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_a_crash_at_start_is_the_c_library(
    derive: Derive, findings: Findings, run_in_docker: Run, composed_base: Callable[[str], ComposedBase]
) -> None:
    """``Segmentation faults or crashes at startup``: a builder's libc.so.6 over the base's, whose loader stays."""
    libc = "lib/x86_64-linux-gnu/libc.so.6"
    data = Path(composed_base("debian13").rootfs, "usr", libc).read_bytes()
    main: Files = {"app/main.py": File(b"print('fine')\n")}
    broken = derive("debian12", main, {libc: data}, Cmd=["/app/main.py"])
    found = findings(broken)
    assert [(row["rule"], row["path"]) for row in found if row["severity"] == "error"] == [("LAY005", f"/{libc}")]
    done = run_in_docker(broken)
    assert done.returncode not in (0, 1), done.stderr
    assert done.stdout == ""
    mended = derive("debian12", main, Cmd=["/app/main.py"])
    assert rules(findings(mended)) == []
