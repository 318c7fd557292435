"""``dpbuild diff`` through the command line, on images of any kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories.elf import make_elf
from factories.image import File, Files, Folder, Layout, Link, make_image, on

SITE = "usr/lib/python3.13/site-packages"
BASE: Files = {
    "etc/config": File(b"one", 0o644),
    "link": Link("etc/config"),
    "var/lib/dpkg/status.d/libx1": "Package: libx1\nVersion: 1.0\nArchitecture: amd64\n",
    "var/lib/dpkg/status.d/libx1.md5sums": "d41d8cd98f00b204e9800998ecf8427e  usr/lib/libx.so.1\n",
    "usr/lib/libx.so.1": make_elf(build_id=b"aaaa"),
}


def package(version: str, **files: str | bytes) -> Files:
    info = f"{SITE}/demo-{version}.dist-info"
    rows = [f"demo/{name.replace('__', '.')}" for name in files]
    record = "".join(f"{row},,\n" for row in (*rows, f"demo-{version}.dist-info/RECORD"))
    return {
        **{f"{SITE}/{row}": data for row, data in zip(rows, files.values(), strict=True)},
        f"{info}/METADATA": f"Name: demo\nVersion: {version}\n",
        f"{info}/RECORD": record,
    }


@pytest.fixture
def compared(dpbuild: Callable, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(a: Any, b: Any) -> dict[str, Any]:
        for name, (layers, image) in {"a": a, "b": b}.items():
            make_image(tmp_path / name, *layers, **image)
        done = dpbuild("diff", f"oci:{tmp_path}/a", f"oci:{tmp_path}/b", "--json", "--platform", "linux/amd64")
        value = json.loads(done.out)
        shown = dpbuild(
            "diff", f"oci:{tmp_path}/a", f"oci:{tmp_path}/b", "--platform", "linux/amd64", "--exit-code", check=False
        )
        assert shown.status == (0 if value["same"] else 80)
        assert isinstance(value, dict)
        return {**value, "shown": shown.out}

    return run


def test_the_same(compared: Callable[..., dict[str, Any]]) -> None:
    found = compared(((BASE,), {}), ((BASE,), {}))
    assert found["same"]
    assert found["shown"] == "the images are the same\n"
    assert [found[name] for name in ("packages", "files", "config", "annotations", "layers")] == [[], [], [], [], []]


def test_of_an_index_the_platform_is_said(dpbuild: Callable, tmp_path: Path) -> None:
    """Its digest is another one than the image's, and what it has for other platforms was not compared."""
    make_image(tmp_path / "one", BASE)
    layout = Layout(tmp_path / "index")
    amd, _ = layout.image(BASE)
    arm, _ = layout.image({"etc/other": "x"}, platform="linux/arm64")
    layout.finish((layout.index((amd, on("linux/amd64")), (arm, on("linux/arm64"))), {}))
    done = dpbuild("diff", f"oci:{tmp_path}/one", f"oci:{tmp_path}/index", "--platform", "linux/amd64")
    assert done.out == "the images are the same for linux/amd64\n"


@pytest.mark.parametrize(
    ("path", "content", "changes", "before", "after"),
    [
        ("etc/config", File(b"two!", 0o644), ["content"], "3 bytes", "4 bytes"),
        ("etc/config", File(b"one", 0o600), ["mode"], "0644", "0600"),
        ("etc/config", File(b"one", 0o644, 7, 8), ["owner"], "0:0", "7:8"),
        ("link", Link("etc/other"), ["target"], "etc/config", "etc/other"),
        ("link", Folder(), ["kind"], "symlink", "directory"),
        ("etc/new", b"", ["added"], "", ""),
        ("etc/.wh.config", b"", ["removed"], "", ""),
    ],
)
def test_files(
    compared: Callable[..., dict[str, Any]], path: str, content: Any, changes: list[str], before: str, after: str
) -> None:
    found = compared(((BASE,), {}), ((BASE, {path: content}), {}))
    assert not found["same"]
    rows = [row for row in found["files"] if row["path"] != "/etc"]
    assert rows == [
        {"path": f"/{path.replace('.wh.', '')}", "changes": changes, "before": before, "after": after, "package": ""}
    ]
    assert f"/{path.replace('.wh.', '')}" in found["shown"]
    assert [row["side"] for row in found["layers"]] == ["b"]
    assert found["common_layers"] == 1


def test_packages(compared: Callable[..., dict[str, Any]]) -> None:
    upper: Files = {
        "var/lib/dpkg/status.d/libx1": "Package: libx1\nVersion: 1.1\nArchitecture: amd64\n",
        "var/lib/dpkg/status.d/liby1": "Package: liby1\nVersion: 2.0\nArchitecture: amd64\n",
    }
    found = compared(((BASE, package("1.0", a__py="x")), {}), ((BASE, upper), {}))
    rows = [(row["kind"], row["name"], row["state"], row["before"], row["after"]) for row in found["packages"]]
    assert rows == [
        ("python", "demo", "removed", "1.0", ""),
        ("system", "libx1", "version", "1.0", "1.1"),
        ("system", "liby1", "added", "", "2.0"),
    ]
    for line in ("  - demo 1.0", "  ~ libx1 1.0 -> 1.1", "  + liby1 2.0"):
        assert line in found["shown"].splitlines()


def test_a_folder_with_one_packages_files_is_that_packages(compared: Callable[..., dict[str, Any]]) -> None:
    folders = {f"{SITE}/{name}": Folder() for name in ("demo", "demo-1.0.dist-info", "empty", "other")}
    files = {f"{SITE}/demo/py.typed": b"", f"{SITE}/other/of-nobody": b""}
    for a, b, sign in (((BASE,), (BASE, folders, package("1.0", a__py="x", py__typed="")), "added"),
                       ((BASE, folders, package("1.0", a__py="x", py__typed="")), (BASE,), "removed")):  # fmt: skip
        found = compared(((*a,), {}), ((*b,), {}))
        of = {row["path"].removeprefix(f"/{SITE}/"): row["package"] for row in found["files"] if sign in row["changes"]}
        assert (of["demo"], of["demo-1.0.dist-info"], of["empty"]) == ("python:demo", "python:demo", "")
        assert f"/{SITE}/demo" not in found["shown"].split()
        assert f"/{SITE}/empty" in found["shown"].split()
    found = compared(((BASE,), {}), ((BASE, folders, package("1.0", a__py="x"), files), {}))
    of = {row["path"].removeprefix(f"/{SITE}/"): row["package"] for row in found["files"]}
    assert (of["demo"], of["other"], of["demo/a.py"]) == ("", "", "python:demo")


def test_why_the_bytes_of_a_package_differ(compared: Callable[..., dict[str, Any]]) -> None:
    one = package("1.0", a__py="x", b__so=make_elf(build_id=b"aaaa"), c__pyc="1", d__txt="same")
    other = package("1.0", a__py="y", b__so=make_elf(build_id=b"bbbb"), c__pyc="2", d__txt="same")
    found = compared(((BASE, one), {}), ((BASE, other), {}))
    assert [(row["state"], row["why"]) for row in found["packages"]] == [
        ("content", "1 × native code, 1 × sources, 1 × bytecode; built anew (other build ids)")
    ]
    assert {row["package"] for row in found["files"]} == {"python:demo"}
    assert "demo 1.0, other bytes: 1 × native code" in found["shown"]
    assert f"/{SITE}/demo/a.py (content: 1 bytes -> 1 bytes)" in found["shown"]


def test_a_library_of_the_system(compared: Callable[..., dict[str, Any]]) -> None:
    found = compared(((BASE,), {}), ((BASE, {"usr/lib/libx.so.1": make_elf(build_id=b"bbbb")}), {}))
    assert [(row["kind"], row["name"], row["why"]) for row in found["packages"]] == [
        ("system", "libx1", "1 × native code; built anew (other build ids)")
    ]


def test_config_and_annotations(compared: Callable[..., dict[str, Any]]) -> None:
    one = {"Env": ["A=1", "B=2"], "Cmd": ["x"], "Labels": {"l": "1"}, "User": "0"}
    other = {"Env": ["A=1", "B=3", "C=4"], "Cmd": ["x", "y"], "User": "0"}
    found = compared(
        ((BASE,), {"config": one, "annotations": {"n": "1"}}), ((BASE,), {"config": other, "annotations": {"n": "2"}})
    )
    assert [(row["name"], row["before"], row["after"]) for row in found["config"]] == [
        ("Env B", "2", "3"),
        ("Env C", "", "4"),
        ("cmd", "x", "x y"),
        ("Labels l", "1", ""),
    ]
    assert [(row["name"], row["before"], row["after"]) for row in found["annotations"]] == [("n", "1", "2")]
    assert found["files"] == []
    assert "  ~ Env C: (none) -> 4" in found["shown"]


def test_the_same_content_compressed_otherwise(compared: Callable[..., dict[str, Any]]) -> None:
    found = compared(((BASE,), {}), ((BASE,), {"compress": False}))
    assert found["files"] == []
    assert found["packages"] == []
    by_side = {row["side"]: row for row in found["layers"]}
    assert by_side["a"]["repacked"] == by_side["b"]["digest"]
    assert by_side["b"]["repacked"] == by_side["a"]["digest"]


def test_images_that_are_not_there(dpbuild: Callable, tmp_path: Path) -> None:
    make_image(tmp_path / "a", BASE)
    done = dpbuild("diff", f"oci:{tmp_path}/a", f"oci:{tmp_path}/b", "--platform", "linux/amd64", check=False)
    assert done.status == 92
    wrong = dpbuild("diff", f"oci:{tmp_path}/a", f"oci:{tmp_path}/a", "--platform", "linux/s390x", check=False)
    assert wrong.status == 20
