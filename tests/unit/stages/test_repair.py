"""Wheels that auditwheel has repaired: what went in, what is said of it, and the tag. No tool is run here."""

import io
import json
import zipfile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from factories.elf import make_elf
from factories.facts import make_facts
from factories.image import File, Files, Link, make_tar

from dpbuild.archive.overlay import FileTree
from dpbuild.archive.read import entries, open_layer
from dpbuild.errors import SdistBuildFailed, TargetError
from dpbuild.model.artifact import Artifact
from dpbuild.model.facts import SystemPackage
from dpbuild.oci.digest import Digest
from dpbuild.pypa import rewrite
from dpbuild.pypa.wheel import WheelError
from dpbuild.stages import repair
from dpbuild.stages.evidence import embedded
from dpbuild.stages.repair import Origin, Taken

FACTS = make_facts()
INFO = "x-1.0.dist-info"
ABOUT = {
    f"{INFO}/METADATA": (b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n", 0o644),
    f"{INFO}/WHEEL": (b"Wheel-Version: 1.0\nTag: cp313-cp313-linux_x86_64\n", 0o644),
    f"{INFO}/RECORD": (b"", 0o644),
}
LIBRARY = make_elf(needed=("libc.so.6",), verneed=(("libc.so.6", ("GLIBC_2.38",)),))
BEFORE = {**ABOUT, "x.so": (make_elf(needed=("libpq.so.5",)), 0o755)}
AFTER = {
    **ABOUT,
    "x.so": (make_elf(needed=("libpq-0123abcd.so.5.17",)), 0o755),
    "x.libs/libpq-0123abcd.so.5.17": (LIBRARY, 0o644),
    "x.libs/libglib-2-99999999.0.so.0.8200": (LIBRARY, 0o644),
    f"{INFO}/sboms/auditwheel.cdx.json": (b"{}", 0o644),
}
PQ = Taken(member="x.libs/libpq-0123abcd.so.5.17", name="libpq.so.5.17", digest="0123abcd")
GLIB = Taken(member="x.libs/libglib-2-99999999.0.so.0.8200", name="libglib-2.0.so.0.8200", digest="99999999")
TOOLS = [
    Artifact(name=name, version="6", filename=f"{name}-6-py3-none-any.whl", digest=Digest("a" * 64), size=1)
    for name in ("auditwheel", "packaging")
]


def policies(*names: str) -> bytes:
    return json.dumps([{"name": name} for name in names]).encode()


def test_the_newest_policy_that_the_base_allows():
    known = policies("linux", "manylinux_2_5", "manylinux_2_36", "manylinux_2_41", "manylinux_2_99")
    assert repair.policy(known, FACTS) == "manylinux_2_41_x86_64"
    assert repair.policy(known, make_facts(libc=(2, 39))) == "manylinux_2_36_x86_64"
    assert repair.policy(known, make_facts("3.11.2", "aarch64", libc=(2, 36))) == "manylinux_2_36_aarch64"


def test_bases_that_no_policy_is_for():
    with pytest.raises(TargetError, match=r"for glibc alone, and the base has musl 1\.2"):
        repair.policy(policies("manylinux_2_17"), make_facts(libc=(1, 2), musl=True))
    with pytest.raises(TargetError, match=r"no policy for glibc 2\.41"):
        repair.policy(policies("linux", "manylinux_2_99"), FACTS)


def test_what_the_base_lacks_is_expected_of_no_system():
    whole = ["libc.so.6", "libm.so.6", "libz.so.1", "libX11.so.6", "libGL.so.1"]
    known = [
        {"name": "manylinux_2_17", "lib_whitelist": whole[:4], "symbol_versions": {"x86_64": {}}},
        {"name": "manylinux_2_41", "lib_whitelist": whole},
    ]
    tree = tree_of(
        {
            "lib": Link("usr/lib"),
            "usr/lib/x86_64-linux-gnu/libz.so.1": Link("libz.so.1.3"),
            # Not where the loader would look.
            "usr/local/lib/python3.13/dist-packages/a.libs/libX11.so.6": File(b""),
            "usr/share/libGL.so.1": File(b""),
        }
    )
    found = json.loads(repair.policies(json.dumps(known).encode(), tree))
    assert [row["lib_whitelist"] for row in found] == [whole[:3], whole[:3]]
    assert found[0]["symbol_versions"] == {"x86_64": {}}
    for broken in (b"", b"[1]", b"{}x", b'[{"name": "manylinux_2_17"}]'):
        with pytest.raises(SdistBuildFailed, match="cannot be read"):
            repair.policies(broken, tree)


def tree_of(files: Files) -> FileTree:
    stream, _ = open_layer(io.BytesIO(make_tar(files)), limit=1 << 20)
    return FileTree.of([[entry for entry, _ in entries(stream)]])


def test_a_program_with_python_in_it():
    """auditwheel would take libpython away from it, as it does from extension modules, which do not miss it."""
    module = make_elf(needed=("libpython3.13.so.1.0",))
    program = make_elf(needed=("libpython3.13.so.1.0",), interp="/lib64/ld-linux-x86-64.so.2")
    other = make_elf(needed=("libpq.so.5",), interp="/lib64/ld-linux-x86-64.so.2")
    files = {"x.so": (module, 0o755), "x-1.0.data/scripts/a": (other, 0o755), "broken": (module[:70], 0o644)}
    assert repair.embedded(files) == ""
    assert repair.embedded({**files, "x-1.0.data/scripts/x": (program, 0o755)}) == "x-1.0.data/scripts/x"


@pytest.mark.parametrize(
    ("platform", "wanted"),
    [("linux_x86_64", True), ("linux_aarch64", True), ("manylinux_2_17_x86_64", False), ("any", False)],
)
def test_what_has_to_be_repaired(platform, wanted):
    assert repair.needed(f"x-1.0-cp313-cp313-{platform}.whl") is wanted


def test_what_went_in():
    assert repair.taken(BEFORE, AFTER) == (GLIB, PQ)
    # A program is moved, and what was there before is not taken.
    moved = {**AFTER, "x.scripts/x": (LIBRARY, 0o755)}
    assert repair.taken({**BEFORE, PQ.member: (LIBRARY, 0o644)}, moved) == (GLIB,)
    with pytest.raises(WheelError, match=r"x\.libs/libpq\.so\.5 .* does not say where it is from"):
        repair.taken(BEFORE, {**AFTER, "x.libs/libpq.so.5": (LIBRARY, 0o644)})


def finished(
    filename: str = "x-1.0-cp313-cp313-manylinux_2_38_x86_64.manylinux_2_41_x86_64.whl",
) -> tuple[str, zipfile.ZipFile]:
    package = SystemPackage(name="libpq5", version="17.6-0+deb13u1", architecture="amd64")
    origin = Origin(package=package, sha256="b" * 64, licence=b"PostgreSQL\n")
    name, data = repair.finish(filename, AFTER, [(GLIB, None), (PQ, origin)], TOOLS, FACTS)
    return name, zipfile.ZipFile(io.BytesIO(data))


def test_the_wheel_says_what_travels_in_it():
    _, wheel = finished()
    assert wheel.read(f"{INFO}/licenses/libpq5/copyright") == b"PostgreSQL\n"
    names = set(wheel.namelist())
    assert f"{INFO}/sboms/auditwheel.cdx.json" not in names
    assert set(wheel.read(f"{INFO}/RECORD").decode().replace(",", "\n").split("\n")) >= names
    text = wheel.read(f"{INFO}/sboms/dpbuild.cdx.json").decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    purl = "pkg:deb/debian/libpq5@17.6-0%2Bdeb13u1?arch=amd64&distro=debian-13"
    glib, pq = document["components"]
    assert (pq["name"], pq["version"], pq["purl"]) == ("libpq5", "17.6-0+deb13u1", purl)
    assert pq["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    # What no package claims is named by its file.
    assert (glib["name"], "purl" in glib, "version" in glib) == ("libglib-2.0.so.0.8200", False, False)
    assert [row["name"] for row in glib["components"] + pq["components"]] == [GLIB.member, PQ.member]
    assert document["dependencies"][0] == {"ref": "pkg:pypi/x@1.0", "dependsOn": [glib["bom-ref"], purl]}
    # Another dpbuild would write the same.
    assert document["metadata"]["tools"]["components"] == [
        {"type": "application", "name": "dpbuild"},
        {"type": "application", "name": "auditwheel", "version": "6"},
    ]


def test_the_images_sbom_takes_all_of_it():
    _, wheel = finished()
    found = embedded.read("/x", wheel.read(f"{INFO}/sboms/dpbuild.cdx.json"), "pkg:pypi/x@1.0")
    assert [row["name"] for row in found.components] == [GLIB.name, "libpq5"]
    assert [row[0] for row in found.notes] == ["dpbuild:sbom:merged"]
    assert ("pkg:pypi/x@1.0", tuple(row["bom-ref"] for row in found.components)) in found.needs


@pytest.mark.parametrize(
    ("platforms", "tag"),
    [
        ("manylinux_2_39_x86_64.manylinux_2_41_x86_64", "manylinux_2_39_x86_64"),
        # What the files want is more than what is said.
        ("manylinux2014_x86_64.manylinux_2_17_x86_64", "manylinux_2_38_x86_64"),
    ],
)
def test_the_tag_is_the_oldest_that_is_true(platforms, tag):
    name, wheel = finished(f"x-1.0-cp313-cp313-{platforms}.whl")
    assert name == f"x-1.0-cp313-cp313-{tag}.whl"
    assert wheel.read(f"{INFO}/WHEEL").decode().endswith(f"Tag: cp313-cp313-{tag}\n")


def test_a_wheel_without_a_tag_that_promises_anything():
    with pytest.raises(WheelError, match="which is no manylinux wheel"):
        finished("x-1.0-cp313-cp313-linux_x86_64.whl")


def test_nothing_went_in():
    files = {**ABOUT, "x.so": (LIBRARY, 0o755)}
    _, data = repair.finish("x-1.0-cp313-cp313-manylinux_2_38_x86_64.whl", files, [], TOOLS, FACTS)
    assert sorted(rewrite.contents(data)) == sorted(files)
