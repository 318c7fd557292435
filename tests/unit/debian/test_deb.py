"""Packages are read as dpkg reads them, and their scripts are not."""

import lzma

import pytest
from factories.debian import MTIME, make_ar, make_deb, make_tar

from dpbuild.archive.entry import Kind
from dpbuild.debian import deb, files
from dpbuild.debian.suites import DEBIAN_12, DEBIAN_13


@pytest.mark.parametrize("compression", ["xz", ""])
def test_contents_and_control(compression: str):
    data = make_deb(
        "x",
        "1:2.0-3",
        "amd64",
        {"usr/bin/x": b"program", "usr/bin/y": "x"},
        scripts={"postinst": b"#!/bin/sh\ntouch /ran\n"},
        compression=compression,
    )
    found = {entry.path: (entry, content) for entry, content in deb.contents(data)}
    assert list(found) == ["", "usr", "usr/bin", "usr/bin/x", "usr/bin/y"]
    entry, content = found["usr/bin/x"]
    assert (content, entry.mode, entry.mtime, entry.user) == (b"program", 0o644, MTIME, "root")
    assert found["usr/bin/y"][0].target == "x"
    control = deb.control(data)
    assert control.control.startswith(b"Package: x\nVersion: 1:2.0-3\n")
    assert control.md5sums is not None
    assert b"usr/bin/x" in control.md5sums


def test_a_package_layer_ends_with_its_status():
    data = make_deb("x", "1", "all", {"usr/share/x": b"1"}, scripts={"preinst": b"#!/bin/sh\n"})
    found = list(files.package(data, "x"))
    assert [entry.path for entry, _ in found][-3:] == [
        "var/lib/dpkg/status.d",
        "var/lib/dpkg/status.d/x",
        "var/lib/dpkg/status.d/x.md5sums",
    ]
    assert not any("preinst" in entry.path for entry, _ in found)


def damaged() -> dict[str, bytes]:
    good = make_deb("x", "1", "all", {"a": b"1"})
    parts = {name: bytes(data) for name, data in deb.members(good).items()}
    without = {name: data for name, data in parts.items() if name != "data.tar.xz"}
    return {
        "no ar": b"PK" + good,
        "cut": good[:-3],
        "cut in a header": good + b"x" * 20,
        "format 3": make_ar({**parts, "debian-binary": b"3.0\n"}),
        "no data": make_ar(without),
        "short xz": make_ar({**parts, "data.tar.xz": parts["data.tar.xz"][:-20]}),
        "no xz": make_ar({**parts, "data.tar.xz": b"plain"}),
        "no tar": make_ar({**parts, "data.tar.xz": lzma.compress(b"x" * 1024)}),
        "leaves the root": make_ar({**parts, "data.tar.xz": lzma.compress(make_tar({"../x": b""}))}),
        "twice": make_ar(without) + make_ar(without)[8:],
    }


@pytest.mark.parametrize("how", sorted(damaged()))
def test_a_damaged_package_is_refused(how: str):
    with pytest.raises(deb.DebError):
        list(deb.contents(damaged()[how]))


def texts(items: tuple[files.Item, ...]) -> dict[str, tuple[int, int, int, bytes]]:
    return {entry.path: (entry.mode, entry.uid, entry.mtime, content) for entry, content in items}


def test_files_that_are_in_no_package():
    assert texts(files.rootfs()) == {"": (0o755, 0, 0, b"")}
    assert texts(files.passwd())["etc/passwd"] == (
        0o644,
        0,
        0,
        (
            b"root:x:0:0:root:/root:/sbin/nologin\n"
            b"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
            b"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
        ),
    )
    assert (
        texts(files.group())["etc/group"][3] == b"root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n"
    )
    assert texts(files.home()) == {
        "root": (0o700, 0, 0, b""),
        "home": (0o755, 0, 0, b""),
        "home/nonroot": (0o700, 65532, 0, b""),
    }
    assert texts(files.tmp()) == {"tmp": (0o1777, 0, 0, b"")}
    assert texts(files.nsswitch())["etc/nsswitch.conf"][:3] == (0o644, 0, 1514722362)
    mode, _, _, text = texts(files.os_release(DEBIAN_13))["usr/lib/os-release"]
    assert mode == 0o555
    assert text.decode().splitlines()[:5] == [
        'PRETTY_NAME="Distroless"',
        'NAME="Debian GNU/Linux"',
        'ID="debian"',
        'VERSION_ID="13"',
        'VERSION="Debian GNU/Linux 13 (trixie)"',
    ]
    for entry, _ in files.python_aliases(DEBIAN_12):
        assert (entry.kind, entry.target) == (Kind.SYMLINK, "/usr/bin/python3.11")


def test_busybox_links_are_the_names_in_its_table():
    data = make_deb("busybox-static", "1", "amd64", {"bin/busybox": b"..[\0[[\0busybox\0sh\0\0.."})
    names = [entry.path for entry, _ in files.busybox(data, "busybox-static")]
    assert names[:5] == ["busybox", "busybox/busybox", "busybox/[", "busybox/[[", "busybox/sh"]
    with pytest.raises(deb.DebError, match="applets"):
        files.busybox(make_deb("b", "1", "amd64", {"bin/busybox": b"no table"}), "b")


def test_the_two_sets_are_as_long_as_distroless_own():
    assert len(DEBIAN_13.layers("nonroot")) == 48
    assert len(DEBIAN_12.layers("latest")) == 43
    labels = [item.label for item in DEBIAN_13.layers("debug")]
    assert labels[12:14] == ["cacerts", "busybox"]
    assert [item.label for item in DEBIAN_13.items][:6] == [
        "base-files",
        "netbase",
        "tzdata",
        "tzdata-legacy",
        "media-types",
        "rootfs",
    ]
    assert [item.label for item in DEBIAN_13.items][-3:] == ["python3.13-venv", "python_aliases", "ldconfig_cache"]
