"""What wheels that were built here want, and the tags that say so."""

import io
import zipfile

import pytest
from factories.elf import make_elf
from factories.facts import make_facts
from factories.wheel import make_wheel

from dpbuild.errors import SdistBuildFailed
from dpbuild.pypa import rewrite
from dpbuild.pypa.wheel import WheelError
from dpbuild.stages.audit import demands, platform_tag


def module(*needed: str, glibc: str = "2.17", machine: str = "x86_64") -> bytes:
    return make_elf(machine, needed=needed, verneed=[("libc.so.6", (f"GLIBC_{glibc}", "GLIBC_2.2.5"))])


@pytest.mark.parametrize(
    ("files", "tag"),
    [
        ({"a.py": b"x"}, "any"),
        ({"a.so": module("libc.so.6")}, "manylinux_2_17_x86_64"),
        ({"a.so": module("libc.so.6", "libm.so.6", glibc="2.34"), "b.so": module()}, "manylinux_2_34_x86_64"),
        ({"a.so": module("libc.so.6", glibc="2.4")}, "manylinux_2_17_x86_64"),
        ({"a.so": module("libc.so.6", "libstdc++.so.6")}, "manylinux_2_41_x86_64"),
        ({"a.so": module("libc.so.6", "libpq.so.5")}, "linux_x86_64"),
        ({"a.so": module("libc.so.6", "libown.so"), "x.libs/libown.so": module()}, "manylinux_2_17_x86_64"),
    ],
)
def test_tags(files, tag):
    facts = make_facts()
    assert platform_tag(demands("x.whl", files, facts), facts) == tag


def test_libraries_outside_are_named_with_who_needs_them():
    found = demands("x.whl", {"b.so": module("libpq.so.5"), "a.so": module("libpq.so.5", "libz.so.1")}, make_facts())
    assert found.libraries == (("libpq.so.5", "b.so"), ("libz.so.1", "a.so"))
    assert found.sonames == {"libpq.so.5", "libz.so.1"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (module(machine="aarch64"), "a.so is for aarch64, and the base for x86_64"),
        (module(glibc="2.42"), r"wants glibc 2\.42, and the base has glibc 2\.41"),
        (b"\x7fELF" + bytes(60), "a.so cannot be read"),
    ],
)
def test_what_cannot_run_on_the_base_is_refused(data, said):
    with pytest.raises(SdistBuildFailed, match=said):
        demands("x.whl", {"a.so": data}, make_facts())


class TestRewrite:
    def test_the_same_bytes_however_the_wheel_was_made(self):
        name, stored = make_wheel("a", "1", "cp313-cp313-linux_x86_64", method=zipfile.ZIP_STORED)
        _, deflated = make_wheel("a", "1", "cp313-cp313-linux_x86_64")
        shuffled = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(shuffled, "w") as new:
            new.mkdir("a.data-not")
            for row in reversed(old.infolist()):
                new.writestr(row.filename, old.read(row))
        made = {rewrite.rewrite(name, rewrite.contents(data)) for data in (stored, deflated)}
        assert len(made) == 1
        assert rewrite.rewrite(name, rewrite.contents(shuffled.getvalue())) in made

    def test_tags_modes_and_record(self):
        name, data = make_wheel(
            "a", "1", "cp313-cp313-linux_x86_64", files={"a.py": "x", "run": "y"}, executable=("run",)
        )
        new = rewrite.retag(name, "manylinux_2_17_x86_64")
        assert new == "a-1-cp313-cp313-manylinux_2_17_x86_64.whl"
        with zipfile.ZipFile(io.BytesIO(rewrite.rewrite(new, rewrite.contents(data)))) as wheel:
            about = wheel.read("a-1.dist-info/WHEEL").decode()
            record = wheel.read("a-1.dist-info/RECORD").decode()
            modes = {row.filename: row.external_attr >> 16 for row in wheel.infolist()}
        assert [line for line in about.splitlines() if line.startswith("Tag")] == [
            "Tag: cp313-cp313-manylinux_2_17_x86_64"
        ]
        assert {line.split(",")[0] for line in record.splitlines()} == set(modes)
        assert (modes["run"], modes["a.py"]) == (0o100755, 0o100644)

    def test_what_is_no_wheel(self):
        with pytest.raises(WheelError, match="cannot be read"):
            rewrite.contents(b"PK nothing")
        with pytest.raises(WheelError, match="dist-info"):
            rewrite.rewrite("a-1-py3-none-any.whl", {"a.py": (b"", 0)})
