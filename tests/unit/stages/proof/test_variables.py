"""Values of Python's variables, asked of a real Python."""

import os
import subprocess
import sys
import sysconfig

import pytest

from dpbuild.stages.proof.variables import NAMES, refused

GIL_DISABLED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
VALUES = {
    "PYTHONUTF8": ("0", "1", "true", " 1", "01", ""),
    "PYTHONHASHSEED": ("abc", "random", "Random", " 5", "5 ", "-1", "+7", "4294967295", "4294967296", "0x5", "-0"),
    "PYTHONIOENCODING": ("utf88", "utf8:foo", ":foo", "hex", "utf 8", "UTF-8-sig", "cp1252", "latin1", "utf8:strict:x"),
    "PYTHONMALLOC": ("foo", "default", "Debug", "malloc", "malloc_debug", "pymalloc", "pymalloc_debug", "debug"),
    "PYTHONINTMAXSTRDIGITS": ("5", "0", "639", "640", "x", "-1", " 700", "7e2"),
    "PYTHONTRACEMALLOC": ("x", "0", "1", "-1", "65535", "70000"),
    "PYTHON_CPU_COUNT": ("0", "x", "default", "2", "-1"),
    "PYTHON_GIL": ("x", "1", "01"),
}


def test_every_variable_is_tried() -> None:
    assert tuple(VALUES) == NAMES


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALUES.items() for value in values])
def test_it_is_what_python_says(name: str, value: str) -> None:
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")} | {name: value}
    done = subprocess.run(
        [sys.executable, "-S", "-c", ""], env=environment, capture_output=True, text=True, check=False
    )
    wanted = refused(name, value, sys.version_info[1], lambda codec: False, gil_disabled=GIL_DISABLED)
    assert bool(wanted) == bool(done.returncode), done.stderr


def test_what_older_versions_do_not_know() -> None:
    def said(name: str, value: str, minor: int) -> bool:
        return bool(refused(name, value, minor, lambda codec: False, gil_disabled=False))

    assert (said("PYTHON_GIL", "0", 13), said("PYTHON_GIL", "0", 12)) == (True, False)
    assert (said("PYTHON_CPU_COUNT", "x", 13), said("PYTHON_CPU_COUNT", "x", 12)) == (True, False)
    assert (said("PYTHONMALLOC", "mimalloc", 13), said("PYTHONMALLOC", "mimalloc", 12)) == (False, True)
    assert said("PYTHONINTMAXSTRDIGITS", "1", 10) is False


def test_a_build_without_the_gil() -> None:
    for name, value in (("PYTHON_GIL", "0"), ("PYTHONMALLOC", "mimalloc")):
        assert refused(name, value, 13, lambda codec: False, gil_disabled=True) == ""
