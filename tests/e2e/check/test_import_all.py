"""``run --import-all``: every import is tried for real, each by itself."""

from collections.abc import Callable

import pytest
from derived import Derive

SITE = "usr/local/lib/python3.13/dist-packages"
FILES = {
    f"{SITE}/good/__init__.py": "print('says something')\n",
    f"{SITE}/bad.py": "import nothing_of_this_name\n",
    f"{SITE}/dies.py": "import os\nos.kill(os.getpid(), 11)\n",
    f"{SITE}/leaves.py": "raise SystemExit(0)\n",
    f"{SITE}/space/inner.py": "x = 1\n",
    f"{SITE}/mixed-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mixed\nVersion: 1.0\n",
    f"{SITE}/mixed-1.0.dist-info/RECORD": "good/__init__.py,,\nbad.py,,\ndies.py,,\nleaves.py,,\nspace/inner.py,,\n"
    "../../../bin/mixed.py,,\nmixed-1.0.dist-info/METADATA,,\nmixed-1.0.dist-info/RECORD,,\n",
    # Not on sys.path, so nobody can import it.
    "opt/away/other-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
    "opt/away/other-1.0.dist-info/RECORD": "other.py,,\n",
    "opt/away/other.py": "raise ValueError\n",
}


@pytest.mark.parametrize("way", ["docker", "bubblewrap", "none"])
def test_what_fails_and_why(derive: Derive, dpbuild: Callable, need: Callable[..., None], way: str) -> None:
    if way != "none":
        need(way)
    done = dpbuild("run", "--import-all", "--builder", way, derive("debian13", FILES), check=False)
    assert done.status == 70, done.err
    assert done.out.splitlines() == [
        "failed  bad (mixed 1.0)",
        "        ModuleNotFoundError: No module named 'nothing_of_this_name'",
        "failed  dies (mixed 1.0)",
        "        it was ended by signal 11",
        "ok      good (mixed 1.0)",
        "failed  leaves (mixed 1.0)",
        "        SystemExit: 0",
        "ok      space (mixed 1.0)",
    ]
    assert "error: 3 of 5 modules cannot be imported: bad, dies, leaves" in done.err
    assert "2 of 5 modules can be imported" in done.err


def test_arguments_are_refused(dpbuild: Callable) -> None:
    done = dpbuild("run", "--import-all", "oci:x", "--", "y", check=False)
    assert (done.status, done.out) == (2, "")
