"""LIB005: programs of packages, on images in memory."""

import dataclasses

from factories.elf import make_elf
from factories.image import File
from factories.package import image, rows
from factories.subject import found

LOADER = "/lib64/ld-linux-x86-64.so.2"
PKG = {"pkg/__init__.py": ""}
NODE = make_elf(interp=LOADER, needed=("libnone.so.1", "libc.so.6"))
SAID = "this program needs libnone.so.1, which is nowhere that the dynamic loader looks"


def test_a_program_without_its_library() -> None:
    assert rows(image({**PKG, "pkg/node": File(NODE, 0o755)})) == [("LIB005", "warning", "pkg/node", SAID)]
    two = image({**PKG, "pkg/node": File(NODE, 0o755), "pkg/other": File(NODE, 0o755)})
    assert rows(two) == [("LIB005", "warning", "pkg/node", f"{SAID}; 1 more of the package")]


def test_the_package_of_it_is_named() -> None:
    subject = image({**PKG, "pkg/node": File(NODE, 0o755)})
    (row,) = found(dataclasses.replace(subject, providers=lambda names: dict.fromkeys(names, "libnone1")), "LIB")
    assert row.fix == 'runtime-packages = ["libnone1"] in [tool.dpbuild]'


def test_what_is_no_concern() -> None:
    """Programs that work, that nobody may execute, that are for others, or whose package has the library."""
    fine = make_elf(interp=LOADER, needed=("libc.so.6",))
    other = make_elf("aarch64", interp="/lib/ld-linux-aarch64.so.1", needed=("libnone.so.1",))
    files = {"pkg/fine": File(fine, 0o755), "pkg/data": File(NODE, 0o644), "pkg/arm": File(other, 0o755)}
    assert rows(image(PKG | files)) == []
    own = {"pkg/node": File(NODE, 0o755), "pkg/lib/libnone.so.1": make_elf(soname="libnone.so.1")}
    assert rows(image(PKG | own)) == []
