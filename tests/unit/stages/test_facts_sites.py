"""Site directories of distributions, virtual environments and ``._pth`` files."""

import pytest
from factories.image import File, Link
from factories.python_image import PATH, debian, glibc, image_facts, python

from dpbuild.errors import TargetError
from dpbuild.model.facts import VirtualEnvironment
from dpbuild.oci.platform import Platform
from dpbuild.stages.target import target

AMD64 = Platform("linux", "amd64")
CONFIG = File(b"home = /usr/bin\nversion = 3.13.5\nInclude-System-Site-Packages = true\n")


def test_rpm_has_its_library_in_lib64() -> None:
    found = image_facts(glibc(), python("3.13.7", library="lib64", shared=True))

    assert found.stdlib == "/usr/lib64/python3.13"
    assert found.purelib == "/usr/lib/python3.13/site-packages"
    assert found.site_directories == ("/usr/lib64/python3.13/site-packages", "/usr/lib/python3.13/site-packages")


def test_red_hats_site_has_usr_local_only_with_a_user_site() -> None:
    files = python("3.13.7", library="lib64", text=b"\0RPM_BUILD_ROOT\0")
    own = ("/usr/lib64/python3.13/site-packages", "/usr/lib/python3.13/site-packages")

    assert image_facts(glibc(), files).site_directories == (
        "/usr/local/lib64/python3.13/site-packages",
        "/usr/local/lib/python3.13/site-packages",
        *own,
    )
    without = image_facts(glibc(), files, env=(PATH, "PYTHONNOUSERSITE=1"))
    assert without.site_directories == own
    assert without.purelib in own


@pytest.mark.parametrize("place", ["opt/venv", "opt/venv/bin"])
def test_a_virtual_environment(place: str) -> None:
    found = image_facts(
        *debian(),
        {"opt/venv/bin/python": Link("python3"), "opt/venv/bin/python3": Link("/usr/bin/python3.13")},
        {f"{place}/pyvenv.cfg": CONFIG},
        entrypoint=("/opt/venv/bin/python", "-m", "app"),
    )

    assert found.interpreter == "/usr/bin/python3.13"
    assert found.virtual_environment == VirtualEnvironment(
        prefix="/opt/venv",
        site_directories=("/opt/venv/lib/python3.13/site-packages",),
        system_site_packages=True,
    )
    assert found.site_directories[0] == "/usr/local/lib/python3.13/dist-packages"


def test_a_virtual_environment_behind_a_script() -> None:
    found = image_facts(
        *debian(),
        {
            "app/.venv/bin/python3": Link("/usr/bin/python3"),
            "app/.venv/bin/serve": "#!/app/.venv/bin/python3\nimport app\n",
            "app/.venv/pyvenv.cfg": File(b"home = /usr/bin\ninclude-system-site-packages = false\n"),
        },
        entrypoint=("serve",),
        env=("PATH=/app/.venv/bin:/usr/bin",),
    )

    assert found.virtual_environment is not None
    assert found.virtual_environment.prefix == "/app/.venv"
    assert not found.virtual_environment.system_site_packages


def test_what_is_no_virtual_environment() -> None:
    assert image_facts(*debian()).virtual_environment is None
    # The base itself is none, whatever lies there.
    other = {"usr/pyvenv.cfg": File(b"home = /usr/bin\n")}
    assert image_facts(*debian(), other, entrypoint=("/usr/bin/python3",)).virtual_environment is None
    # One that nothing starts does not count.
    unused = {"opt/venv/pyvenv.cfg": CONFIG, "opt/venv/bin/python3": Link("/usr/bin/python3")}
    assert image_facts(*debian(), unused, entrypoint=("/usr/bin/python3",)).virtual_environment is None


def test_a_path_file_replaces_the_path() -> None:
    text = b"# ours only\n../lib/python3.13\n\n/srv/packages  # there\n../lib/python3.13/lib-dynload\n"
    found = image_facts(glibc(), python(), {"usr/bin/python3.13._pth": File(text)})

    assert found.path_file == "/usr/bin/python3.13._pth"
    assert found.site_directories == ("/srv/packages",)
    with pytest.raises(TargetError, match="leaves no site directory"):
        target(found, AMD64)


def test_a_path_file_that_asks_for_site_moves_the_prefix() -> None:
    found = image_facts(glibc(), python(), {"usr/bin/python3.13._pth": File(b".\nimport site\n")})

    assert found.path_file == "/usr/bin/python3.13._pth"
    assert found.site_directories == ("/usr/bin/lib/python3.13/site-packages",)
    assert found.purelib in found.site_directories
    assert target(found, AMD64).python_version == "3.13.5"


def test_path_files_are_honoured_since_3_11() -> None:
    files = python("3.10.14", text=b"\0003.10.14\0")

    assert image_facts(glibc(), files, {"usr/bin/python3.10._pth": File(b"/x\n")}).path_file == ""
