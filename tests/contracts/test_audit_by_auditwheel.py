"""What the audit of built wheels takes for granted, against the policies of auditwheel."""

import json
from pathlib import Path

import auditwheel
import pytest

from dpbuild.stages import audit

POLICIES = json.loads((Path(auditwheel.__file__).parent / "policy" / "manylinux-policy.json").read_text())
# auditwheel leaves the loader out of account; libmvec came with glibc 2.22.
ALWAYS = frozenset(name for name in audit.GLIBC if name.startswith("ld"))


@pytest.mark.parametrize(
    "policy", [row for row in POLICIES if row["name"].startswith("manylinux_2_")], ids=lambda row: str(row["name"])
)
def test_the_libraries_are_in_every_policy(policy: dict[str, object]) -> None:
    minor = int(str(policy["name"]).rpartition("_")[2])
    if minor < audit.OLDEST:
        return
    allowed = {*policy["lib_whitelist"], *ALWAYS}  # type: ignore[misc]
    missing = (audit.GLIBC | audit._COMPILER) - allowed
    assert missing <= ({"libmvec.so.1"} if minor < 22 else set())


def test_there_are_policies_for_both_suites() -> None:
    assert {"manylinux_2_36", "manylinux_2_41"} <= {row["name"] for row in POLICIES}
