"""Which modules of the standard library an image lacks."""

import sys

import pytest
from factories.elf import make_elf
from factories.image import File
from factories.python_image import glibc, image_facts, python

from dpbuild.stages.facts_stdlib import expected

# What CPython builds on Windows and macOS only (sys.stdlib_module_names is the same everywhere).
ELSEWHERE = {"_msi", "_overlapped", "_scproxy", "_winapi", "_wmi", "msilib", "msvcrt", "nt", "winreg", "winsound"}


def test_the_table_is_that_of_the_python_that_runs_this_test() -> None:
    assert expected(sys.version_info.minor) == sys.stdlib_module_names - ELSEWHERE


def test_modules_come_and_go() -> None:
    def has(name: str) -> list[int]:
        return [minor for minor in range(9, 16) if name in (expected(minor) or ())]

    assert has("formatter") == [9]
    assert has("distutils") == [9, 10, 11]
    assert has("telnetlib") == [9, 10, 11, 12]
    assert has("tomllib") == [11, 12, 13, 14, 15]
    assert has("annotationlib") == [14, 15]
    assert has("ssl") == list(range(9, 16))
    assert expected(8) is None
    assert expected(16) is None


BUILT_IN = {"posix", "math", "_io"}


def whole(version: str = "3.12.3", without: tuple[str, ...] = ()) -> list[str]:
    names = expected(int(version.split(".")[1])) or frozenset()
    return sorted(names - BUILT_IN - set(without))


def test_nothing_is_missing_where_everything_is() -> None:
    found = image_facts(glibc(), python("3.12.3", built_in=BUILT_IN, modules=whole()))

    assert found.missing_modules == ()


def test_what_is_missing() -> None:
    lacking = ("ensurepip", "idlelib", "tkinter", "_tkinter")
    found = image_facts(glibc(), python("3.12.3", built_in=BUILT_IN, modules=whole(without=lacking)))

    assert found.missing_modules == ("_tkinter", "ensurepip", "idlelib", "tkinter")


@pytest.mark.parametrize(
    "path",
    [
        "usr/lib/python3.12/tkinter/__init__.py",
        "usr/lib/python3.12/tkinter.pyc",
        "usr/lib/python3.12/tkinter/__init__.pyc",
        "usr/lib/python3.12/lib-dynload/tkinter.cpython-312-x86_64-linux-gnu.so",
        "usr/lib/python3.12/site-packages/tkinter/__init__.py",
    ],
)
def test_every_form_of_a_module_counts(path: str) -> None:
    files = python("3.12.3", built_in=BUILT_IN, modules=whole(without=("tkinter",)))

    assert image_facts(glibc(), files, {path: File(b"")}).missing_modules == ()


@pytest.mark.parametrize(
    "path",
    [
        "usr/lib/python3.12/tkinter/filedialog.py",
        "usr/lib/python3.12/lib-dynload/tkinter.cpython-311-x86_64-linux-gnu.so",
        "usr/share/tkinter.py",
    ],
)
def test_what_is_no_module(path: str) -> None:
    files = python("3.12.3", built_in=BUILT_IN, modules=whole(without=("tkinter",)))

    assert image_facts(glibc(), files, {path: File(b"")}).missing_modules == ("tkinter",)


def test_frozen_modules_need_no_file() -> None:
    files = python("3.12.3", built_in=BUILT_IN, modules=whole(without=("abc", "posixpath")))
    assert image_facts(glibc(), files).missing_modules == ()

    files = python("3.10.3", built_in=BUILT_IN, modules=whole("3.10.3", without=("abc",)), text=b"\0003.10.3\0")
    assert image_facts(glibc(), files).missing_modules == ("abc",)


def test_where_the_program_hides_what_is_in_it_nothing_is_said() -> None:
    assert image_facts(glibc(), python("3.12.3", modules=whole())).missing_modules is None


def test_the_modules_of_an_unknown_version_are_not_guessed() -> None:
    assert image_facts(glibc(), python("3.19.0", built_in=BUILT_IN)).missing_modules is None


def test_the_modules_in_a_library_count() -> None:
    files = python("3.12.3", shared=True, modules=whole(), built_in=BUILT_IN)

    assert image_facts(glibc(), files, {"x": make_elf()}).missing_modules == ()
