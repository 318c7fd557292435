"""Whose library it is: by name and content, first in the packages of a builder, then in the image below them."""

import dataclasses
import hashlib
import io
import types
from pathlib import Path

from factories.facts import make_facts
from factories.image import File, Files, Link, make_tar

from dpbuild.adapters import rootfs
from dpbuild.adapters.origins import origins
from dpbuild.archive.overlay import FileTree
from dpbuild.archive.read import entries, open_layer
from dpbuild.model.facts import SystemPackage
from dpbuild.stages.repair import Origin, Taken

PQ = SystemPackage(name="libpq5", version="17", architecture="amd64")
SSL = SystemPackage(name="libssl3t64", version="3.5", architecture="amd64", source="openssl")


def taken(name: str, data: bytes) -> Taken:
    return Taken(member=f"x.libs/{name}", name=name, digest=hashlib.sha256(data).hexdigest()[:8])


def image(folder: Path, files: Files) -> types.SimpleNamespace:
    """The files in a folder, and what is asked of a base."""
    tar = make_tar(files)
    rootfs.unpack(io.BytesIO(tar), str(folder))
    stream, _ = open_layer(io.BytesIO(tar), limit=1 << 20)
    tree = FileTree.of([[entry for entry, _ in entries(stream)]])
    return types.SimpleNamespace(tree=tree, facts=dataclasses.replace(make_facts(), packages=(SSL,)))


def test_of_a_package_of_the_base_and_of_nobody(tmp_path: Path) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    root.mkdir()
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/libpq.so.5.17").write_bytes(b"pq")
    (tree / "usr/lib/libpq.so.5").symlink_to("libpq.so.5.17")
    base = image(
        root,
        {
            "usr/lib/libssl.so.3": File(b"ssl"),
            "usr/lib/libmine.so": File(b"mine"),
            "usr/lib/libpq.so.5.17": File(b"another libpq"),
            "lib": Link("usr/lib"),
            "usr/share/doc/libssl3t64/copyright": Link("../openssl/copyright"),
            "usr/share/doc/openssl/copyright": File(b"Apache-2.0"),
            "var/lib/dpkg/status.d/libssl3t64": File(b"Package: libssl3t64\nVersion: 3.5\n"),
            # Packages may say where a file was before /usr was merged.
            "var/lib/dpkg/status.d/libssl3t64.md5sums": File(b"0  lib/libssl.so.3\n"),
        },
    )
    wanted = [taken("libpq.so.5.17", b"pq"), taken("libssl.so.3", b"ssl"), taken("libmine.so", b"mine")]
    wanted.append(taken("libssl.so.3", b"other"))
    found = origins(wanted, str(root), base, lambda: [(PQ, str(tree), "c" * 64)])  # type: ignore[arg-type]
    assert found == [
        (wanted[0], Origin(package=PQ, sha256="c" * 64)),
        (wanted[1], Origin(package=SSL, licence=b"Apache-2.0")),
        (wanted[2], None),
        (wanted[3], None),
    ]


def test_a_package_that_has_a_link_to_anothers_library(tmp_path: Path) -> None:
    """As -dev packages do, whose names come first."""
    dev = dataclasses.replace(PQ, name="libpq-dev")
    root = tmp_path / "root"
    root.mkdir()
    base = image(
        root,
        {
            "lib": Link("usr/lib"),
            "usr/lib/libpq.so.5.17": File(b"pq"),
            "usr/lib/libpq.so": Link("libpq.so.5.17"),
            "var/lib/dpkg/status": File(
                b"".join(f"Package: {row.name}\nVersion: {row.version}\n\n".encode() for row in (dev, PQ))
            ),
            "var/lib/dpkg/info/libpq-dev:amd64.list": File(b"/usr/lib\n/usr/lib/libpq.so\n"),
            "var/lib/dpkg/info/libpq5:amd64.list": File(b"/lib\n/lib/libpq.so.5.17\n"),
        },
    )
    base.facts = dataclasses.replace(base.facts, packages=(dev, PQ))
    wanted = taken("libpq.so.5.17", b"pq")
    assert origins([wanted], str(root), base, tuple) == [(wanted, Origin(package=PQ))]  # type: ignore[arg-type]
