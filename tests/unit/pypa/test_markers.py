import pytest
from packaging.markers import default_environment

from dpbuild.pypa import markers

TARGET = markers.environment("3.13.5", "aarch64")


def test_the_environment_has_every_variable_that_packaging_knows():
    assert {name for name, _ in TARGET} == set(markers.VARIABLES) == set(default_environment())


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", True),
        ("python_version < '3.12'", False),
        ("python_version >= '3.9'", True),
        ("python_full_version == '3.13.5'", True),
        ("platform_machine == 'aarch64'", True),
        ("platform_machine == 'x86_64' or sys_platform == 'win32'", False),
        ("os_name == 'posix' and platform_system == 'Linux'", True),
        ("implementation_name == 'cpython' and platform_python_implementation == 'CPython'", True),
        ("implementation_version >= '3.13'", True),
        ("'prod' in extras", True),
        ("'dev' in extras", False),
        ("'serve' in dependency_groups", True),
        ("extra == 'prod'", False),
    ],
)
def test_evaluation(marker, expected):
    assert markers.evaluate(marker, TARGET, extras=["prod"], groups=["serve"]) is expected


@pytest.mark.parametrize("name", ["platform_release", "platform_version"])
def test_what_only_a_kernel_knows_is_refused(name):
    with pytest.raises(ValueError, match=name):
        markers.evaluate(f"{name} >= '5'", TARGET)


def test_the_name_of_a_kernel_variable_in_a_string_is_harmless():
    assert markers.kernel_variable("platform_machine == 'platform_release'") == ""


def test_an_environment_with_a_gap_is_refused_rather_than_filled_from_the_host():
    with pytest.raises(ValueError, match="os_name"):
        markers.evaluate("python_version > '3'", tuple(row for row in TARGET if row[0] != "os_name"))


@pytest.mark.parametrize("text", ["python_version >", "nonsense == '1'", "python_version > 3 ="])
def test_what_is_no_marker(text):
    with pytest.raises(ValueError, match="not a marker"):
        markers.evaluate(text, TARGET)
