"""Unpacking images: whiteouts and links as the spec has them, and nothing outside of the folder, ever."""

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.image import File, Files, Folder, Hard, Link, make_tar

from dpbuild.adapters import rootfs
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import BaseImageError
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest


def layer(files: Files | bytes, *, compress: bool = True) -> tuple[Descriptor, Callable[[], io.BytesIO]]:
    data = files if isinstance(files, bytes) else make_tar(files)
    data = gzip.compress(data, 1) if compress else data
    kind = mediatype.OCI_LAYER_GZIP if compress else mediatype.OCI_LAYER
    return Descriptor(media_type=kind, digest=Digest.of(data), size=len(data)), lambda: io.BytesIO(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a neighbour that must stay as it is."""
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour/file").write_text("untouched")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def unpack(folder: Path, *layers: Files) -> dict[str, str]:
    """Every file below, with its content or where it points."""
    try:
        rootfs.extract([layer(files) for files in layers], str(folder))
    finally:
        assert [row.name for row in sorted(folder.parent.iterdir())] == ["neighbour", "root"]
        assert [row.name for row in (folder.parent / "neighbour").iterdir()] == ["file"]
        assert (folder.parent / "neighbour/file").read_text() == "untouched"
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


def test_upper_layers_win(folder: Path) -> None:
    assert unpack(folder, {"etc/a": "1", "etc/b": "1"}, {"etc/b": "2", "c": "2"}) == {
        "etc/a": "1",
        "etc/b": "2",
        "c": "2",
    }


@pytest.mark.parametrize("compress", [True, False])
def test_both_ways_of_compression(folder: Path, compress: bool) -> None:
    rootfs.extract([layer({"a": "1"}, compress=compress)], str(folder))
    assert (folder / "a").read_text() == "1"


def test_whiteouts_remove_what_lower_layers_have(folder: Path) -> None:
    lower: Files = {"a/x": "1", "a/y": "1", "b/z": "1", "c/keep": "1"}
    assert unpack(folder, lower, {"a/.wh.x": "", ".wh.b": ""}) == {"a/y": "1", "c/keep": "1"}


@pytest.mark.parametrize("first", [True, False])
def test_whiteouts_leave_their_own_layer_alone(folder: Path, first: bool) -> None:
    new: Files = {"a/new": "2", "a/x": "2"}
    marks: Files = {"a/.wh..wh..opq": "", "a/.wh.x": ""}
    upper = {**marks, **new} if first else {**new, **marks}
    assert unpack(folder, {"a/x": "1", "a/y": "1", "a/d/e": "1"}, upper) == {"a/new": "2", "a/x": "2"}


def test_a_whiteout_of_a_link_leaves_what_it_points_to(folder: Path) -> None:
    assert unpack(folder, {"real/f": "1", "link": Link("real")}, {".wh.link": ""}) == {"real/f": "1"}


def test_a_whiteout_does_not_leave_the_folder(folder: Path) -> None:
    found = unpack(folder, {"out": Link("../neighbour"), "abs": Link(str(folder.parent / "neighbour"))},
                   {"out/.wh.file": "", "abs/.wh.file": "", "out/.wh..wh..opq": ""})  # fmt: skip
    assert set(found) == {"out", "abs"}


def test_links_are_followed_inside(folder: Path) -> None:
    found = unpack(
        folder,
        {"usr/lib/a": "1", "lib": Link("usr/lib"), "abs": Link("/usr/lib")},
        {"lib/b": "2", "abs/c": "3", "lib/sub/d": "4"},
    )
    assert {found[f"usr/lib/{name}"] for name in ("b", "c", "sub/d")} == {"2", "3", "4"}


def test_a_parent_that_points_outside_means_the_inside(folder: Path) -> None:
    outside = folder.parent / "neighbour"
    found = unpack(folder, {"up": Link("../../../neighbour"), "abs": Link(str(outside))}, {"up/f": "1", "abs/g": "2"})
    assert found["neighbour/f"] == "1"
    assert found[f"{str(outside).lstrip('/')}/g"] == "2"


def test_a_file_replaces_a_link_and_does_not_write_through_it(folder: Path) -> None:
    target = str(folder.parent / "neighbour/file")
    assert unpack(folder, {"f": Link(target)}, {"f": "mine"}) == {"f": "mine"}


def test_a_folder_replaces_a_link_and_a_file_a_folder(folder: Path) -> None:
    found = unpack(folder, {"usr/lib64/a": "1", "lib64": Link("usr/lib64"), "d/e": "1"}, {"lib64": Folder(), "d": "f"})
    assert found == {"usr/lib64/a": "1", "d": "f"}
    assert (folder / "lib64").is_dir()
    assert not (folder / "lib64").is_symlink()


def test_hard_links_are_the_same_file(folder: Path) -> None:
    unpack(folder, {"a": "1"}, {"b": Hard("a"), "l": Link("/etc/passwd"), "h": Hard("l")})
    assert (folder / "a").stat().st_ino == (folder / "b").stat().st_ino
    assert (folder / "h").is_symlink()


def test_a_hard_link_through_a_link_stays_inside(folder: Path) -> None:
    with pytest.raises(BaseImageError, match="hard link"):
        unpack(folder, {"out": Link("../neighbour"), "h": Hard("out/file")})


def test_modes_are_kept_but_for_what_would_stand_in_the_way(folder: Path) -> None:
    unpack(folder, {"d": Folder(0o555), "d/f": File(b"1", 0o4755), "d/none": File(b"2", 0o000), "t": Folder(0o1777)})
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("d", "d/f", "d/none", "t")}
    assert modes == {"d": 0o755, "d/f": 0o755, "d/none": 0o600, "t": 0o777}
    assert (folder / "d/f").stat().st_uid == os.geteuid()
    assert (folder / "d/f").stat().st_mtime == 1


def test_the_umask_does_not_show(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(folder, {"a/b/c": "1"})
    finally:
        os.umask(before)
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o755]


def test_devices_and_pipes_are_left_out(folder: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("null", tarfile.CHRTYPE), ("disk", tarfile.BLKTYPE), ("pipe", tarfile.FIFOTYPE)):
            row = tarfile.TarInfo(name)
            row.type = kind
            tar.addfile(row)
    rootfs.extract([layer(out.getvalue())], str(folder))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/..", "/../evil", "./../evil"])
def test_names_that_lead_out_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(BaseImageError, match="leads out"):
        unpack(folder, {"a/b": "1", name: "evil"})


@pytest.mark.parametrize("name", [".wh.", "a/.wh..", ".wh..."])
def test_whiteouts_of_nothing_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(BaseImageError, match="whiteout"):
        unpack(folder, {name: ""})


def test_absolute_names_are_below_the_folder(folder: Path) -> None:
    assert unpack(folder, {"/etc/f": "1", "//x": "2"}) == {"etc/f": "1", "x": "2"}


def test_below_a_file_is_an_error(folder: Path) -> None:
    with pytest.raises(BaseImageError, match="no directory"):
        unpack(folder, {"a": "1", "a/b": "2"})


def test_links_in_a_circle_are_an_error(folder: Path) -> None:
    with pytest.raises(BaseImageError, match="circle"):
        unpack(folder, {"a": Link("b"), "b": Link("a"), "a/f": "1"})


@pytest.mark.parametrize("cut", [10, 200])
def test_a_cut_layer_is_an_error(folder: Path, cut: int) -> None:
    descriptor, content = layer({"a": os.urandom(300).hex()})
    data = content().read()
    with pytest.raises(BaseImageError, match="cannot be unpacked"):
        rootfs.extract([(descriptor, lambda: io.BytesIO(data[:-cut]))], str(folder))


def test_kept_folders_are_made_once(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store")
    descriptor, content = layer({"a": "1"})
    opened = []

    def counted() -> io.BytesIO:
        opened.append(1)
        return content()

    first = rootfs.kept(store, [(descriptor, counted)])
    second = rootfs.kept(store, [(descriptor, counted)])
    assert (first, len(opened)) == (second, 1)
    assert Path(first, "a").read_text() == "1"
    other = layer({"b": "1"})
    assert rootfs.kept(store, [(descriptor, counted), other]) != first


def test_nothing_is_kept_of_a_broken_layer(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store")
    with pytest.raises(BaseImageError):
        rootfs.kept(store, [layer({"good": "1"}), layer({"../bad": "1"})])
    assert not list((tmp_path / "store").rglob("good"))


def test_removing_works_whatever_the_modes_are(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("1")
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("1")
    (tmp_path / "d/link").symlink_to(tmp_path / "keep")
    (tmp_path / "keep").chmod(0o640)
    (tmp_path / "d/e").chmod(0o000)
    (tmp_path / "d").chmod(0o555)
    rootfs.remove(str(tmp_path / "d"))
    rootfs.remove(str(tmp_path / "d"))
    assert [row.name for row in tmp_path.iterdir()] == ["keep"]
    assert stat.S_IMODE((tmp_path / "keep").stat().st_mode) == 0o640


def test_inside_follows_links_as_in_a_chroot(folder: Path) -> None:
    unpack(folder, {"usr/bin/python3.13": "x", "usr/bin/python3": Link("/usr/bin/python3.13"), "bin": Link("usr/bin")})
    assert rootfs.inside(str(folder), "/bin/python3") == str(folder / "usr/bin/python3.13")
    assert rootfs.inside(str(folder), "/../../usr/bin/../bin/new") == str(folder / "usr/bin/new")
    with pytest.raises(FileNotFoundError):
        rootfs.inside(str(folder), "/missing/file")
