import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dpbuild.pypa import tags

_SCRIPT = """
import json, platform, sys, sysconfig
from packaging import tags
libc = platform.libc_ver()
print(json.dumps({
    "tags": [str(row) for row in tags.sys_tags()],
    "minor": list(sys.version_info[:2]),
    "machine": platform.machine(),
    "libc": libc,
    "gil_disabled": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
}))
"""


def _interpreters() -> list[str]:
    found = [sys.executable]
    found += [path for n in range(8, 16) if (path := shutil.which(f"python3.{n}")) and "shims" not in path]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += [str(path) for path in sorted(root.glob("3.1*/bin/python3"))]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("interpreter", _interpreters())
def test_the_tags_are_those_that_a_real_interpreter_gives_in_the_same_order(interpreter):
    import packaging

    folder = str(Path(packaging.__file__).parent.parent)
    done = subprocess.run(
        [interpreter, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{_SCRIPT}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{interpreter} cannot import packaging: {done.stderr.splitlines()[-1]}")
    real = json.loads(done.stdout)
    if real["libc"][0] != "glibc" or real["minor"] < [3, 8]:
        pytest.skip("not a glibc host, or a Python that is too old")
    version = tuple(int(part) for part in real["libc"][1].split("."))
    found = tags.cpython(
        tuple(real["minor"]),
        tags.platforms("glibc", version, real["machine"]),
        gil_disabled=real["gil_disabled"],
        debug=real["debug"],
    )
    assert list(found) == real["tags"]


def test_debian_13_on_amd64():
    found = tags.cpython((3, 13), tags.platforms("glibc", (2, 41), "x86_64"))
    assert found[:4] == (
        "cp313-cp313-linux_x86_64",
        "cp313-cp313-manylinux_2_41_x86_64",
        "cp313-cp313-manylinux_2_40_x86_64",
        "cp313-cp313-manylinux_2_39_x86_64",
    )
    assert found[-1] == "py30-none-any"
    for wanted in (
        "cp32-abi3-manylinux1_x86_64",
        "cp313-none-any",
        "py3-none-any",
        "py3-none-manylinux2014_x86_64",
        "cp37-abi3-manylinux_2_5_x86_64",
    ):
        assert wanted in found
    for unwanted in (
        "cp313-cp313-manylinux_2_42_x86_64",
        "cp313-cp313-manylinux_2_4_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp31-abi3-linux_x86_64",
        "cp313-cp313t-linux_x86_64",
    ):
        assert unwanted not in found


def test_old_names_stand_beside_the_glibc_that_they_mean():
    found = list(tags.manylinux((2, 17), "x86_64"))
    assert found[:2] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    assert found[found.index("manylinux_2_12_x86_64") + 1] == "manylinux2010_x86_64"
    assert found[-2:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64"]


def test_other_machines_begin_at_glibc_2_17_and_have_no_older_names():
    found = list(tags.manylinux((2, 36), "aarch64"))
    assert found[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    assert not any("2010" in row or "manylinux1_" in row for row in found)


def test_a_glibc_older_than_every_name_leaves_only_linux():
    assert tags.platforms("glibc", (2, 12), "aarch64") == ("linux_aarch64",)


def test_musl():
    found = tags.platforms("musl", (1, 2), "aarch64")
    assert found == (
        "linux_aarch64",
        "musllinux_1_2_aarch64",
        "musllinux_1_1_aarch64",
        "musllinux_1_0_aarch64",
    )


def test_free_threaded_python_takes_no_abi3():
    found = tags.cpython((3, 13), tags.platforms("glibc", (2, 41), "x86_64"), gil_disabled=True)
    assert found[0] == "cp313-cp313t-linux_x86_64"
    assert not any("-abi3-" in row for row in found)
    assert "cp313-none-any" in found
    assert not any("-cp313-" in row for row in found)


def test_a_debug_build_takes_wheels_of_both():
    found = tags.cpython((3, 13), ("linux_x86_64",), debug=True)
    assert found[:2] == ("cp313-cp313d-linux_x86_64", "cp313-cp313-linux_x86_64")


def test_32_bit_arm_on_a_64_bit_kernel_runs_armv7_wheels():
    assert tags.platforms("glibc", (2, 17), "armv8l") == (
        "linux_armv8l",
        "linux_armv7l",
        "manylinux_2_17_armv8l",
        "manylinux2014_armv8l",
        "manylinux_2_17_armv7l",
        "manylinux2014_armv7l",
    )
