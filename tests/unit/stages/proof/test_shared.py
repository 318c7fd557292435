"""LIB: the rules on images in memory."""

import dataclasses

import pytest
from factories.elf import make_elf
from factories.image import File
from factories.package import image, rows
from factories.subject import SITE, found, make_subject

BROKEN = make_elf(needed=("libnone.so.1",))
PKG = {"pkg/__init__.py": "from . import _a\n"}


def test_missing() -> None:
    files = {**PKG, "pkg/_a.abi3.so": make_elf(needed=("libmine.so",), runpath="$ORIGIN/../pkg.libs")}
    libraries = {"pkg.libs/libmine.so": BROKEN, "pkg.libs/libother.so": BROKEN}
    assert rows(image({**files, **libraries})) == [
        (
            "LIB001",
            "error",
            "pkg.libs/libmine.so",
            "needs libnone.so.1, which is nowhere that the dynamic loader looks; import pkg fails",
        )
    ]


def test_the_package_that_has_it_is_named() -> None:
    subject = image({**PKG, "pkg/_a.abi3.so": BROKEN})
    asked = []

    def providers(names: frozenset[str]) -> dict[str, str]:
        asked.append(names)
        return {"libnone.so.1": "libnone1"} if "libnone.so.1" in names else {}

    (row,) = found(dataclasses.replace(subject, providers=providers), "LIB")
    assert row.fix.startswith('runtime-packages = ["libnone1"]')
    assert frozenset({"libnone.so.1"}) in asked


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        (["cp313-cp313-linux_x86_64"], True),
        (["cp313-cp313-manylinux_2_17_x86_64"], False),
        (["cp313-cp313-manylinux_2_17_x86_64", "cp313-cp313-manylinux2014_x86_64"], False),
        ([], False),
    ],
)
def test_what_was_built_can_be_repaired(tags: list[str], named: bool) -> None:
    """A wheel for any Linux of this machine was never on a public index; others keep their own mend."""
    about = "Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags)
    (row,) = found(image({**PKG, "pkg/_a.abi3.so": BROKEN, "pkg-1.0.dist-info/WHEEL": about}), "LIB")
    assert ("build pkg 1.0 with repair = true in [tool.dpbuild.recipes.pkg.build]" in row.fix) is named
    assert row.fix.startswith("add what has the library: runtime-packages in [tool.dpbuild]")


def test_nobody_is_asked_where_nothing_is_missing() -> None:
    def providers(_names: frozenset[str]) -> dict[str, str]:
        raise AssertionError("there is nothing to ask for")

    subject = image({**PKG, "pkg/_a.abi3.so": make_elf(needed=("libc.so.6",))})
    assert found(dataclasses.replace(subject, providers=providers), "LIB") == ()


def test_plugins_that_nothing_imports_are_notes() -> None:
    assert [row[:3] for row in rows(image({"pkg/__init__.py": "", "pkg/plugins/libq.so": BROKEN}))] == [
        ("LIB001", "note", "pkg/plugins/libq.so")
    ]
    assert [row[1] for row in rows(image({"pkg/__init__.py": "", "pkg/_a.abi3.so": BROKEN}))] == ["warning"]


def test_newer_versions() -> None:
    verneed = (("libc.so.6", ("GLIBC_2.42", "GLIBC_2.50", "GLIBC_2.9")),)
    files = {**PKG, "pkg/_a.abi3.so": make_elf(needed=("libc.so.6",), verneed=verneed)}
    (row,) = rows(image(files))
    assert row[:3] == ("LIB002", "error", "pkg/_a.abi3.so")
    assert row[3].startswith("wants GLIBC_2.50 of libc.so.6, ")
    assert row[3].endswith(" has GLIBC_2.41; import pkg fails")


def test_damaged() -> None:
    files = {**PKG, "pkg/_a.abi3.so": make_elf(needed=("libc.so.6",))[:80]}
    ((rule, severity, path, evidence),) = rows(image(files))
    assert (rule, severity, path) == ("LIB003", "error", "pkg/_a.abi3.so")
    assert evidence.startswith("it begins like a library, but ")


LOOKS = "from ctypes.util import find_library\nimport ctypes\nname = find_library('none')\n"


def test_a_name_that_leads_nowhere() -> None:
    assert rows(image({"pkg/__init__.py": LOOKS + "if name is None:\n    raise ImportError('none')\n"})) == [
        (
            "LIB004",
            "error",
            "pkg/__init__.py",
            (
                'import pkg fails: find_library("none") finds nothing (line 3); find_library asks /sbin/ldconfig, which the'
                " image does not have"
            ),
        )
    ]
    assert [row[:2] for row in rows(image({"pkg/__init__.py": LOOKS}))] == [("LIB004", "note")]
    later = "import ctypes\ndef load():\n    return ctypes.CDLL('libnone.so.1')\n"
    assert [row[:2] for row in rows(image({"pkg/__init__.py": later}))] == [("LIB004", "warning")]


def test_a_module_that_the_package_can_do_without_but_not_its_importers() -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/loader.py": LOOKS.replace("name", "LIB"),
        "pkg/use.py": "from .loader import LIB\nassert LIB\n",
    }
    ((_, severity, path, evidence),) = rows(image(files))
    assert (severity, path) == ("warning", "pkg/loader.py")
    assert evidence.startswith("import pkg.use fails: ")


def test_a_library_that_only_the_cache_lacks() -> None:
    (row,) = found(make_subject({f"{SITE}/pkg/__init__.py": LOOKS.replace("none", "c")}), "LIB")
    assert ", though /lib/x86_64-linux-gnu/libc.so.6 is there; find_library asks /sbin/ldconfig" in row.evidence
    assert "ld.so.cache" in row.fix


def test_names_of_other_systems_and_such_that_are_found() -> None:
    source = "import ctypes\ndef load():\n    ctypes.CDLL('x.dll')\n    ctypes.CDLL('kernel32')\n    ctypes.CDLL('libc.so.6')\n"
    assert rows(image({"pkg/__init__.py": source})) == []


def test_the_standard_library_may_lack_parts() -> None:
    name = "usr/lib/python3.13/lib-dynload/_tkinter.cpython-313-x86_64-linux-gnu.so"
    assert [(row.rule, str(row.severity)) for row in found(make_subject({name: File(BROKEN)}), "LIB")] == [
        ("LIB001", "warning")
    ]
    assert SITE not in name
