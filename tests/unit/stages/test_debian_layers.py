"""Debian packages on top of a base: the right files in the right places, nothing overwritten, the same bytes."""

import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from factories.debian import MTIME, make_deb
from factories.elf import make_elf
from factories.facts import make_facts
from factories.wheel import make_wheel

from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError, PathConflict
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.facts import SystemPackage
from dpbuild.model.layer import Layer
from dpbuild.model.lock import LockedRuntime
from dpbuild.oci import mediatype
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.ports.debian import Pin
from dpbuild.pypa.wheel import name_and_version
from dpbuild.stages.contents import MappedContents
from dpbuild.stages.layers.debian import DebianLayers, debian_layers
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.site import Site

LIB = "usr/lib/x86_64-linux-gnu"
CONF = "/usr/local/lib/x86_64-linux-gnu\n/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n"
LIBC = make_elf(soname="libc.so.6")


def quiet() -> StreamReporter:
    return StreamReporter(io.StringIO(), lambda: 0.0, "none")


def folder(path: str, mode: int = 0o755, **more: object) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY, mode=mode, **more)  # type: ignore[arg-type]


def file(path: str, data: bytes = b"") -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o644, size=len(data))


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=target)


FILES = {
    "etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf\n",
    "etc/ld.so.conf.d/x86_64-linux-gnu.conf": CONF.encode(),
    "etc/ld.so.cache": b"old",
    f"{LIB}/libc.so.6": LIBC,
    "usr/bin/tool": b"#!",
}
FOLDERS = [
    folder("etc", mtime=7),
    folder("etc/ld.so.conf.d"),
    folder("usr", mode=0o711, uid=7, gid=8, mtime=1234),
    folder("usr/lib"),
    folder(LIB),
    folder("usr/bin"),
    folder("var"),
    folder("var/lib"),
    folder("var/lib/dpkg"),
    folder("var/lib/dpkg/status.d", mtime=99),
]
MERGED = [*FOLDERS, link("lib", "usr/lib"), link("bin", "usr/bin"), *(file(*row) for row in FILES.items())]
UNMERGED = [*FOLDERS, folder("lib"), folder("lib/x86_64-linux-gnu"), *(file(*row) for row in FILES.items())]


def base(entries: Iterable[Entry] = MERGED) -> Base:
    descriptor = Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest("0" * 64), size=1)
    return Base(
        reference=parse("registry.example/base:1"),
        root=descriptor,
        descriptor=descriptor,
        platform=Platform("linux", "amd64"),
        manifest=Manifest(media_type=mediatype.OCI_MANIFEST, config=descriptor, layers=()),
        config=ImageConfig(platform=Platform("linux", "amd64"), env=("PATH=/usr/local/bin:/usr/bin",)),
        facts=replace(make_facts(), packages=(SystemPackage(name="libc6", version="2.41-12"),)),
        tree=FileTree.of([entries]),
    )


@dataclass
class Mirror:
    """Packages by name; remembers what it was asked for."""

    debs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, files: Mapping[str, bytes | str | None], version: str = "1.0") -> Pin:
        self.debs[name] = make_deb(name, version, "amd64", files)
        return name, version, hashlib.sha256(self.debs[name]).hexdigest()

    def close(self, *_: object) -> tuple[tuple[Pin, ...], str]:
        raise AssertionError("layers are made from what is locked")

    def fetch(self, pins: Iterable[Pin], progress: Callable[[int], None]) -> tuple[bytes, ...]:
        rows = list(pins)
        self.asked += [name for name, _, _ in rows]
        return tuple(self.debs[name] for name, _, _ in rows)


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


def make(
    store: DiskStore, mirror: Mirror, *pins: Pin, entries: Iterable[Entry] = MERGED, taken: int = 40
) -> DebianLayers:
    mine = base(entries)
    locked = LockedRuntime(platform="linux/amd64", wanted=tuple(pin[0] for pin in pins), packages=tuple(sorted(pins)))
    contents = MappedContents(mine.tree, lambda path: FILES[path])
    return debian_layers(locked, mine, contents, lambda: mirror, store, quiet(), taken=taken)


def plain(store: DiskStore, layer: Layer) -> bytes:
    with store.open(layer.descriptor.digest) as blob:
        data = gzip.decompress(blob.read())
    assert hashlib.sha256(data).hexdigest() == layer.diff_id.hex
    assert len(data) == layer.size
    return data


def unpack(store: DiskStore, layer: Layer) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(plain(store, layer)))


FOO = {
    f"{LIB}/libfoo.so.1.2": make_elf(soname="libfoo.so.1"),
    f"{LIB}/libfoo.so.1": "libfoo.so.1.2",
    "usr/share/doc/libfoo1/copyright": b"free",
}


def test_a_layer_is_what_distroless_would_have_made_of_the_package(store: DiskStore, mirror: Mirror):
    made = make(store, mirror, mirror.add("libfoo1", FOO, "1.2-3"))
    package, cache = made.layers
    assert package.comment == "libfoo1 1.2-3"
    assert cache.comment == "ld.so.cache"
    with unpack(store, package) as tar:
        names = tar.getnames()
        assert f"./{LIB}/libfoo.so.1.2" in names
        assert tar.getmember(f"./{LIB}/libfoo.so.1").linkname == "libfoo.so.1.2"
        assert tar.getmember(f"./{LIB}/libfoo.so.1.2").mtime == MTIME
        control = tar.extractfile("./var/lib/dpkg/status.d/libfoo1").read().decode()
        assert "Package: libfoo1\nVersion: 1.2-3\nArchitecture: amd64\n" in control
        sums = tar.extractfile("./var/lib/dpkg/status.d/libfoo1.md5sums").read().decode()
        assert f"{hashlib.md5(b'free').hexdigest()}  usr/share/doc/libfoo1/copyright\n" in sums
        # A folder that the base has stays as it is; one that it lacks is the package's.
        usr, doc = tar.getmember("./usr"), tar.getmember("./usr/share/doc")
        assert (usr.mode, usr.uid, usr.gid, usr.mtime) == (0o711, 7, 8, 1234)
        assert (doc.mode, doc.mtime) == (0o755, MTIME)
        assert tar.getmember("./var/lib/dpkg/status.d").mtime == 99
        # Every folder comes before what it holds, once, and the root is nobody's.
        assert len(names) == len(set(names))
        assert "." not in names
        for index, name in enumerate(names):
            parent = name.rpartition("/")[0]
            assert parent in (".", *names[:index])


def ldconfig(store: DiskStore, layer: Layer, folder: Path) -> str:
    with unpack(store, layer) as tar:
        member = tar.getmember("./etc/ld.so.cache")
        assert member.mode == 0o644
        assert tar.getmember("./etc").mtime == 7
        (folder / "cache").write_bytes(tar.extractfile(member).read())
    return subprocess.run(
        ["/sbin/ldconfig", "-C", str(folder / "cache"), "-p"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(not shutil.which("/sbin/ldconfig"), reason="ldconfig is not installed")
def test_the_cache_has_libraries_of_base_and_packages(store: DiskStore, mirror: Mirror, tmp_path: Path):
    made = make(store, mirror, mirror.add("libfoo1", FOO))
    said = ldconfig(store, made.layers[-1], tmp_path)
    assert "libfoo.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libfoo.so.1" in said
    assert "libc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6" in said
    assert "ldconfig (Debian GLIBC 2.41-12)" in said


@pytest.mark.skipif(not shutil.which("/sbin/ldconfig"), reason="ldconfig is not installed")
def test_a_package_may_add_folders_to_the_search(store: DiskStore, mirror: Mirror, tmp_path: Path):
    pin = mirror.add(
        "libbar2",
        {"opt/bar/libbar.so.2": make_elf(soname="libbar.so.2"), "etc/ld.so.conf.d/bar.conf": b"/opt/bar\n"},
    )
    said = ldconfig(store, make(store, mirror, pin).layers[-1], tmp_path)
    assert "libbar.so.2 (libc6,x86-64) => /opt/bar/libbar.so.2" in said


def test_the_bases_links_are_followed(store: DiskStore, mirror: Mirror):
    pin = mirror.add("libold1", {"lib/x86_64-linux-gnu/libold.so.1": make_elf(soname="libold.so.1")})
    made = make(store, mirror, pin)
    with unpack(store, made.layers[0]) as tar:
        assert f"./{LIB}/libold.so.1" in tar.getnames()
        # An entry for the folder would replace the base's link.
        assert "./lib" not in tar.getnames()
    assert made.owners[f"{LIB}/libold.so.1"] == "libold1 1.0"
    made = make(store, mirror, pin, entries=UNMERGED)
    with unpack(store, made.layers[0]) as tar:
        assert "./lib/x86_64-linux-gnu/libold.so.1" in tar.getnames()


def test_the_same_bytes_in_every_store(tmp_path: Path, mirror: Mirror):
    pins = [mirror.add("libfoo1", FOO), mirror.add("libbar1", {f"{LIB}/libbar.so.1": make_elf(soname="libbar.so.1")})]
    made = [make(DiskStore(tmp_path / name), mirror, *pins).layers for name in ("one", "two")]
    assert [row.descriptor for row in made[0]] == [row.descriptor for row in made[1]]


def test_what_is_kept_is_not_fetched_again(store: DiskStore, mirror: Mirror):
    pin, other = mirror.add("libfoo1", FOO), mirror.add("libbar1", {"usr/share/bar": b"bar"})
    first = make(store, mirror, pin)
    mirror.asked.clear()
    again = make(store, mirror, pin)
    assert mirror.asked == []
    assert [row.descriptor for row in first.layers] == [row.descriptor for row in again.layers]
    assert all(row.kept for row in again.layers)
    more = make(store, mirror, pin, other)
    assert mirror.asked == ["libbar1"]
    assert first.layers[0].descriptor in [row.descriptor for row in more.layers]


def test_a_newer_package_is_another_layer(store: DiskStore, mirror: Mirror):
    old = make(store, mirror, mirror.add("libfoo1", FOO))
    new = make(store, mirror, mirror.add("libfoo1", {**FOO, "usr/share/doc/libfoo1/copyright": b"freer"}, "1.1"))
    assert old.layers[0].descriptor != new.layers[0].descriptor


def test_a_file_of_the_base_is_never_overwritten(store: DiskStore, mirror: Mirror):
    pin = mirror.add("tools", {"bin/tool": b"other"})
    with pytest.raises(PathConflict, match=r"tools 1\.0 has the file /usr/bin/tool, which the base registry\.example"):
        make(store, mirror, pin)
    pin = mirror.add("tools", {"usr/bin/tool/inner": b"other"})
    with pytest.raises(
        PathConflict, match=r"tools 1\.0: /usr/bin/tool is a file of the base, where a folder is needed"
    ):
        make(store, mirror, pin)


def test_two_packages_with_the_same_file(store: DiskStore, mirror: Mirror):
    one, two = mirror.add("one", {"usr/share/x": b"same"}), mirror.add("two", {"usr/share/x": b"same"})
    assert len(make(store, mirror, one, two).layers) == 3
    two = mirror.add("two", {"usr/share/x": b"different"})
    with pytest.raises(PathConflict, match=r"one 1\.0 and two 1\.0 both have /usr/share/x, with different contents"):
        make(store, mirror, one, two)
    three = mirror.add("three", {"usr/share/x/y": b"below"})
    with pytest.raises(PathConflict, match=r"one 1\.0 and three 1\.0 both have /usr/share/x, "):
        make(store, mirror, one, three)


def test_hard_links_stay_links(store: DiskStore, mirror: Mirror, tmp_path: Path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN").chmod(0o755)
    (tree / "DEBIAN/control").write_text(
        "Package: linked\nVersion: 1.0\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\nDescription: links\n"
    )
    (tree / "lib").mkdir()
    (tree / "lib/b").write_text("text")
    (tree / "lib/a").hardlink_to(tree / "lib/b")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(tmp_path / "x.deb")], check=True)
    mirror.debs["linked"] = (tmp_path / "x.deb").read_bytes()
    pin = ("linked", "1.0", hashlib.sha256(mirror.debs["linked"]).hexdigest())
    with unpack(store, make(store, mirror, pin).layers[0]) as tar:
        kinds = {name: tar.getmember(f"./usr/lib/{name}") for name in ("a", "b")}
        assert sorted(row.islnk() for row in kinds.values()) == [False, True]
        assert tar.extractfile(next(row for row in kinds.values() if row.islnk())).read() == b"text"


@pytest.mark.parametrize(("count", "layers"), [(20, 20), (21, 19), (45, 20)])
def test_many_packages_share_layers(store: DiskStore, mirror: Mirror, count: int, layers: int):
    pins = [mirror.add(f"p{n:02}", {f"usr/share/p{n:02}": bytes(n)}) for n in range(count)]
    made = make(store, mirror, *pins)
    assert len(made.layers) == layers + 1
    names = [name for layer in made.layers[:-1] for name in layer.comment.split(", ")]
    assert sorted(names) == [f"p{n:02} 1.0" for n in range(count)]
    if count > 20:
        # The largest are alone, and a package stays where it is when another goes.
        assert [row.comment for row in made.layers[:2]] == [f"p{count - 16:02} 1.0", f"p{count - 15:02} 1.0"]
        fewer = make(store, mirror, *pins[1:])
        assert len({row.descriptor for row in made.layers} & {row.descriptor for row in fewer.layers}) >= layers - 1


def test_few_layers_are_left(store: DiskStore, mirror: Mirror):
    pins = [mirror.add(f"p{n:02}", {f"usr/share/p{n:02}": bytes(n)}) for n in range(9)]
    assert len(make(store, mirror, *pins, taken=108).layers) <= 5


def test_alternatives_are_linked(store: DiskStore, mirror: Mirror):
    pin = mirror.add("liblapack3", {f"{LIB}/lapack/liblapack.so.3": make_elf(soname="liblapack.so.3")})
    with unpack(store, make(store, mirror, pin).layers[0]) as tar:
        assert tar.getmember(f"./{LIB}/liblapack.so.3").linkname == "lapack/liblapack.so.3"


def test_a_damaged_package_is_named(store: DiskStore, mirror: Mirror):
    mirror.debs["bad"] = b"!<arch>\nnothing"
    with pytest.raises(BaseImageError, match=r"the package bad 1\.0 cannot be read"):
        make(store, mirror, ("bad", "1.0", "0" * 64))


@pytest.mark.parametrize("name", ["etc/.wh.passwd", "usr/.wh..wh..opq", "opt/.wh.x/y"])
def test_a_package_with_a_name_that_deletes(store: DiskStore, mirror: Mirror, name: str):
    with pytest.raises(BaseImageError, match=r"bad 1\.0 cannot be read: the name '.*\.wh\..*' would delete files"):
        make(store, mirror, mirror.add("bad", {name: b""}))


def test_nothing_wanted_is_nothing_added(store: DiskStore, mirror: Mirror):
    mine = base()
    made = debian_layers(
        None, mine, MappedContents(mine.tree, lambda path: b""), lambda: mirror, store, quiet(), taken=1
    )
    assert made.layers == ()
    assert made.base is mine


def test_a_wheel_never_takes_a_packages_path(store: DiskStore, mirror: Mirror):
    made = make(store, mirror, mirror.add("libfoo1", {"usr/local/share/foo": b"Debian's"}))
    filename, data = make_wheel("demo", "2.0", files={"demo.py": "", "demo-2.0.data/data/share/foo": "wheel's"})
    with store.writer() as writer:
        writer.write(data)
        digest, size = writer.commit()
    name, version = name_and_version(filename)
    artifact = Artifact(name=name, version=version, filename=filename, digest=digest, size=size)
    site = Site(made.base, owners=made.owners)
    with pytest.raises(
        PathConflict, match=r"demo 2\.0 has the file /usr/local/share/foo, .* Debian package libfoo1 1\.0"
    ):
        make_layers([artifact], site, store, quiet(), taken=50)
