"""How a build tells findings."""

import pytest

from dpbuild.checking import refuse
from dpbuild.errors import FindingsError
from dpbuild.model.finding import Finding, Severity
from dpbuild.oci.platform import Platform

HERE = Platform("linux", "amd64")


def finding(path: str, *, owner: str = "", severity: Severity = Severity.WARNING, evidence: str = "no env") -> Finding:
    return Finding(rule="SCR002", severity=severity, path=path, evidence=evidence, owner=owner, fix="leave it out")


def test_files_of_one_package_with_the_same_thing_wrong_share_a_line() -> None:
    rows = [finding(f"/x/{number}.sh", owner="x 1.0") for number in range(12)]
    others = [finding("/x/other.sh", owner="x 1.0", evidence="no sh"), finding("/y/1.sh", owner="y 1.0")]
    assert refuse((*rows, *others, finding("/app/run.sh")), HERE) == (
        "SCR002 /x/0.sh and 11 more (x 1.0): no env\n      fix: leave it out",
        "SCR002 /x/other.sh (x 1.0): no sh\n      fix: leave it out",
        "SCR002 /y/1.sh (y 1.0): no env\n      fix: leave it out",
        "SCR002 /app/run.sh: no env\n      fix: leave it out",
    )


def test_notes_are_not_told_and_errors_end_the_build() -> None:
    note = finding("/x", severity=Severity.NOTE)
    assert refuse((note,), HERE) == ()
    errors = [finding(path, severity=Severity.ERROR, owner="x 1.0") for path in ("/a", "/b")]
    with pytest.raises(FindingsError) as caught:
        refuse((note, *errors), HERE)
    assert caught.value.what == (
        "the image for linux/amd64 would not work, so nothing was written:\n"
        "  SCR002 /a and 1 more (x 1.0): no env\n      fix: leave it out"
    )
