import pytest
from factories.facts import make_facts, make_target

from dpbuild.errors import TargetError
from dpbuild.oci.platform import Platform
from dpbuild.stages.target import target

AMD64 = Platform("linux", "amd64")


def test_debian_13():
    found = make_target()
    assert found.tags[:2] == ("cp313-cp313-linux_x86_64", "cp313-cp313-manylinux_2_41_x86_64")
    assert found.uv_platform == "x86_64-manylinux_2_40"
    assert found.minor == "3.13"
    assert found.words == "cp313 manylinux_2_41_x86_64"
    assert dict(found.markers)["python_full_version"] == "3.13.5"
    assert dict(found.markers)["platform_release"] == dict(found.markers)["platform_version"] == ""


@pytest.mark.parametrize(
    ("machine", "libc", "musl", "word"),
    [
        ("x86_64", (2, 36), False, "x86_64-manylinux_2_36"),
        ("aarch64", (2, 43), False, "aarch64-manylinux_2_40"),
        ("x86_64", (2, 30), False, "x86_64-manylinux_2_28"),
        ("x86_64", (2, 26), False, "x86_64-manylinux_2_17"),
        ("aarch64", (1, 2), True, "aarch64-unknown-linux-musl"),
        ("riscv64", (2, 41), False, "riscv64-unknown-linux"),
        ("armv7l", (2, 41), False, ""),
    ],
)
def test_uv_is_told_the_closest_word_that_is_not_too_new(machine, libc, musl, word):
    assert make_target(machine=machine, libc=libc, musl=musl).uv_platform == word


@pytest.mark.parametrize(
    ("facts", "platform", "said"),
    [
        ({"implementation": "pypy"}, AMD64, "pypy"),
        ({"version": "3.7.17"}, AMD64, "3.7.17"),
        ({"version": "2.7.18"}, AMD64, "2.7.18"),
        ({"machine": "sparc64"}, AMD64, "sparc64"),
        ({"machine": "aarch64"}, AMD64, "aarch64"),
        ({}, Platform("windows", "amd64"), "windows"),
        ({"libc": (3, 0)}, AMD64, "glibc 3.0"),
        ({"soabi": "cpython-312-x86_64-linux-gnu"}, AMD64, "cpython-312"),
        ({"soabi": "cpython-313t-x86_64-linux-gnu"}, AMD64, "cpython-313t"),
    ],
)
def test_facts_that_give_no_target_are_named(facts, platform, said):
    with pytest.raises(TargetError, match=said) as caught:
        target(make_facts(**facts), platform)
    assert caught.value.exit_code == 30


def test_free_threaded():
    assert make_target(gil_disabled=True).words == "cp313 manylinux_2_41_x86_64"
