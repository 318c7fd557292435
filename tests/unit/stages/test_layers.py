"""Wheels become layers: the right files in the right places, verified, and the same bytes every time."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from factories.base import make_base
from factories.wheel import make_wheel

from dpbuild.adapters.helper import ProcessHelper
from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore, DiskWriter
from dpbuild.archive.entry import Entry, Kind
from dpbuild.errors import PathConflict, StoreError, UnsafeWheel
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.layer import Layer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.ports.helper import Helper
from dpbuild.ports.store import Store
from dpbuild.pypa.wheel import name_and_version
from dpbuild.stages.layers import ahead as reading_ahead
from dpbuild.stages.layers import writers as module
from dpbuild.stages.layers.group import BIG, GROUPS, group
from dpbuild.stages.layers.make import WheelLayers, make_layers
from dpbuild.stages.layers.order import Order
from dpbuild.stages.layers.replaced import replaced
from dpbuild.stages.layers.site import Site
from dpbuild.stages.proof.looking import Looking, Seen
from dpbuild.stages.proof.observing import Observing

PLATFORM = Platform("linux", "amd64")
SITE = "usr/local/lib/python3.13/dist-packages"


def folder(path: str, mode: int = 0o755, **more: object) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY, mode=mode, **more)  # type: ignore[arg-type]


def file(path: str, size: int = 0) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o644, size=size)


BASE = [
    folder("usr", uid=7, gid=8, mtime=1234, xattrs=(("user.x", b"1"),)),
    folder("usr/bin"),
    file("usr/bin/python3.13"),
]


def base(entries: Iterable[Entry] = BASE) -> Base:
    return make_base(entries)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


def put(store: DiskStore, wheel: tuple[str, bytes], *, locked: bool = True) -> Artifact:
    filename, data = wheel
    name, version = name_and_version(filename)
    with store.writer() as writer:
        writer.write(data)
        digest, size = writer.commit()
    return Artifact(name=name, version=version, filename=filename, digest=digest, size=size, locked=locked)


def make(store: DiskStore, artifacts: Iterable[Artifact], site: Site | None = None) -> WheelLayers:
    reporter = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    return make_layers(artifacts, site or Site(base()), store, reporter, taken=50)


def raw(store: DiskStore, layer: Layer) -> bytes:
    with store.open(layer.descriptor.digest) as blob:
        return blob.read()


def unpack(store: DiskStore, layer: Layer) -> tarfile.TarFile:
    plain = gzip.decompress(raw(store, layer))
    assert hashlib.sha256(plain).hexdigest() == layer.diff_id.hex
    assert len(plain) == layer.size
    return tarfile.open(fileobj=io.BytesIO(plain))


DEMO = make_wheel(
    "Demo-Project",
    "1.0",
    files={
        "demo/__init__.py": "x = 1\n" * 500,
        "demo/data.bin": bytes(range(256)) * 300,
        "demo/empty.py": "",
        "Demo_Project-1.0.data/scripts/tool": "#!python\nprint('tool')\n",
        "Demo_Project-1.0.data/data/share/demo/about.txt": "about",
        "Demo_Project-1.0.data/headers/demo.h": "/* */",
    },
    entry_points={"demo": "demo.cli:main"},
)


def test_a_wheel_is_installed_as_the_spec_says(store: DiskStore) -> None:
    (layer,) = make(store, [put(store, DEMO)]).layers
    with unpack(store, layer) as tar:
        names = tar.getnames()
        assert names == sorted(names)
        assert tar.extractfile(f"{SITE}/demo/__init__.py").read() == b"x = 1\n" * 500
        assert tar.extractfile("usr/local/share/demo/about.txt").read() == b"about"
        assert tar.extractfile("usr/local/include/python3.13/Demo-Project/demo.h").read() == b"/* */"
        assert tar.extractfile("usr/local/bin/tool").read() == b"#!/usr/bin/python3.13\nprint('tool')\n"
        script = tar.extractfile("usr/local/bin/demo").read().decode()
        assert script.startswith("#!/usr/bin/python3.13\n")
        assert "from demo.cli import main" in script
        assert tar.getmember("usr/local/bin/demo").mode == 0o755
        assert tar.getmember("usr/local/bin/tool").mode == 0o755
        assert tar.getmember(f"{SITE}/demo/__init__.py").mode == 0o644


def test_record_lists_every_file_with_its_hash(store: DiskStore) -> None:
    (layer,) = make(store, [put(store, DEMO)]).layers
    with unpack(store, layer) as tar:
        (name,) = [name for name in tar.getnames() if name.endswith(".dist-info/RECORD")]
        rows = dict(line.split(",", 1) for line in tar.extractfile(name).read().decode().splitlines())
        files = {member.name: member for member in tar.getmembers() if member.isfile()}
        listed = set()
        for path, rest in rows.items():
            full = str(Path(f"/{SITE}").joinpath(path).resolve()).lstrip("/")
            listed.add(full)
            if rest != ",":
                digest, size = rest.split(",")
                data = tar.extractfile(full).read()
                assert int(size) == len(data)
                import base64

                assert (
                    digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                )
        assert listed == set(files)


def test_the_base_keeps_its_folders(store: DiskStore) -> None:
    (layer,) = make(store, [put(store, DEMO)]).layers
    with unpack(store, layer) as tar:
        usr = tar.getmember("usr")
        assert (usr.uid, usr.gid, usr.mtime, usr.mode) == (7, 8, 1234, 0o755)
        assert usr.pax_headers["SCHILY.xattr.user.x"] == "1"
        ours = tar.getmember("usr/local")
        assert (ours.uid, ours.gid, ours.mtime, ours.mode, ours.uname) == (0, 0, 315532800, 0o755, "")


def test_symbolic_links_of_the_base_are_followed(store: DiskStore) -> None:
    linked = [
        *BASE,
        folder("opt"),
        folder("opt/local"),
        Entry(path="usr/local", kind=Kind.SYMLINK, mode=0o777, target="/opt/local"),
    ]
    (layer,) = make(store, [put(store, DEMO)], Site(base(linked))).layers
    with unpack(store, layer) as tar:
        assert "opt/local/bin/demo" in tar.getnames()
        assert not any(name.startswith("usr/local") for name in tar.getnames())


def test_a_layer_is_the_same_in_every_reader(store: DiskStore, tmp_path: Path) -> None:
    (layer,) = make(store, [put(store, DEMO)]).layers
    path = tmp_path / "layer.gz"
    path.write_bytes(raw(store, layer))
    plain = gzip.decompress(path.read_bytes())
    commands = [["gzip", "-dc"], ["pigz", "-dc"], ["igzip", "-dc"], ["busybox", "gunzip", "-c"]]
    found = [command for command in commands if shutil.which(command[0])]
    assert found, "not even gzip is here"
    for command in found:
        done = subprocess.run([*command, str(path)], capture_output=True, check=True)
        assert done.stdout == plain, command


def test_one_gzip_member_and_the_wheels_own_blocks(store: DiskStore) -> None:
    (layer,) = make(store, [put(store, DEMO)]).layers
    data = raw(store, layer)
    import zlib

    engine = zlib.decompressobj(31)
    engine.decompress(data)
    assert engine.eof
    assert engine.unused_data == b""
    with zipfile.ZipFile(io.BytesIO(DEMO[1])) as archive:
        info = archive.getinfo("demo/data.bin")
        start = info.header_offset + 30 + len(info.filename)
        body = DEMO[1][start : start + info.compress_size]
    assert body[1:-1] in data  # all but the bytes in which the last-block bit and the end lie


def test_the_same_again_is_taken_from_the_store(store: DiskStore) -> None:
    artifacts = [put(store, DEMO)]
    first = make(store, artifacts).layers
    second = make(store, artifacts).layers
    assert [layer.kept for layer in first] == [False]
    assert [layer.kept for layer in second] == [True]
    assert [layer.descriptor for layer in first] == [layer.descriptor for layer in second]


def test_a_damaged_layer_is_made_again(store: DiskStore) -> None:
    (layer,) = make(store, [put(store, DEMO)]).layers
    path = store.path / "blobs" / "sha256" / layer.descriptor.digest.hex
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    fresh = DiskStore(store.path)
    with pytest.raises(KeyError):
        fresh.open(layer.descriptor.digest)
    (again,) = make(fresh, [put(fresh, DEMO)]).layers
    assert not again.kept
    assert again.descriptor == layer.descriptor


def test_wheels_built_here_are_compressed_by_us(store: DiskStore, tmp_path: Path) -> None:
    """The builder's compressor must not show: stored or deflated, the layer is the same."""
    import zipfile as z

    deflated = make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 5000})
    stored = make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 5000}, method=z.ZIP_STORED)
    assert deflated[1] != stored[1]
    other = DiskStore(tmp_path / "other")
    (one,) = make(store, [put(store, deflated, locked=False)]).layers
    (two,) = make(other, [put(other, stored, locked=False)]).layers
    assert one.descriptor == two.descriptor


# what is refused


def rewrite(wheel: tuple[str, bytes], change: dict[str, bytes]) -> tuple[str, bytes]:
    """The wheel with contents changed behind RECORD's back."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel[1])) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, change.pop(info.filename, old.read(info)))
        for name, data in change.items():
            new.writestr(name, data)
    return wheel[0], out.getvalue()


INFO = "Demo_Project-1.0.dist-info"
SIMPLE = make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 50})
SIMPLE_INFO = "demo-1.0.dist-info"


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (rewrite(SIMPLE, {"demo.py": b"x = 2\n" * 50}), "hash that RECORD lists"),
        (rewrite(SIMPLE, {"demo.py": b"x = 1\n"}), "RECORD says 300 bytes"),
        (rewrite(SIMPLE, {"extra.py": b""}), "RECORD does not list extra.py"),
        (rewrite(SIMPLE, {"../evil.py": b""}), "leaves its folder"),
        (rewrite(SIMPLE, {f"{SIMPLE_INFO}/RECORD": b"demo.py,,\n"}), "RECORD"),
        (rewrite(SIMPLE, {f"{SIMPLE_INFO}/WHEEL": b"Wheel-Version: 2.0\n"}), "Wheel-Version is 2.0"),
        (rewrite(SIMPLE, {f"{SIMPLE_INFO}/METADATA": b"Name: other\nVersion: 1.0\n"}), "METADATA says other"),
        ((SIMPLE[0].replace("demo", "other"), SIMPLE[1]), "does not belong to other 1.0"),
        ((SIMPLE[0], SIMPLE[1][:-10]), "truncated"),
        ((SIMPLE[0], SIMPLE[1][: len(SIMPLE[1]) // 2]), "truncated"),
        ((SIMPLE[0], b"no zip at all"), "no end record"),
    ],
)
def test_broken_and_tampered_wheels_are_refused(store: DiskStore, wheel: tuple[str, bytes], message: str) -> None:
    artifact = put(store, wheel)
    blobs = set(store.path.glob("blobs/sha256/*"))
    with pytest.raises(UnsafeWheel, match=message) as error:
        make(store, [artifact])
    assert error.value.exit_code == 53
    assert error.value.hint
    assert set(store.path.glob("blobs/sha256/*")) == blobs
    assert not list(store.path.glob("tmp/*"))


def test_a_wrong_crc_is_refused(store: DiskStore) -> None:
    data = bytearray(SIMPLE[1])
    with zipfile.ZipFile(io.BytesIO(SIMPLE[1])) as archive:
        crc = archive.getinfo("demo.py").CRC
    wrong = (crc ^ 1).to_bytes(4, "little")
    changed = bytes(data).replace(crc.to_bytes(4, "little"), wrong)
    assert changed != SIMPLE[1]
    with pytest.raises(UnsafeWheel, match="CRC"):
        make(store, [put(store, (SIMPLE[0], changed))])


def test_two_wheels_with_one_path(store: DiskStore) -> None:
    one = make_wheel("one", "1.0", files={"shared/a.py": "1", "one.py": ""})
    two = make_wheel("two", "1.0", files={"shared/a.py": "2", "two.py": ""})
    same = make_wheel("three", "1.0", files={"shared/a.py": "1"})
    with pytest.raises(
        PathConflict, match=r"one 1\.0 and two 1\.0 both have the file /usr/local/lib.*/shared/a\.py"
    ) as error:
        make(store, [put(store, one), put(store, two)])
    assert error.value.exit_code == 61
    assert len(make(store, [put(store, one), put(store, same)]).layers) >= 1


def test_a_file_where_another_wheel_has_a_folder(store: DiskStore) -> None:
    one = make_wheel("one", "1.0", files={"thing": "file"})
    two = make_wheel("two", "1.0", files={"thing/a.py": ""})
    with pytest.raises(PathConflict, match="folder in"):
        make(store, [put(store, one), put(store, two)])


def test_the_base_is_never_overwritten(store: DiskStore) -> None:
    taken = [
        *BASE,
        folder("usr/local"),
        folder("usr/local/share"),
        folder("usr/local/share/demo"),
        file("usr/local/share/demo/about.txt"),
    ]
    with pytest.raises(PathConflict, match=r"/usr/local/share/demo/about\.txt, which the base has too"):
        make(store, [put(store, DEMO)], Site(base(taken)))


def test_a_script_may_not_shadow_the_base(store: DiskStore) -> None:
    wheel = make_wheel("evil", "1.0", files={"evil.py": ""}, entry_points={"python3.13": "evil:main"})
    with pytest.raises(PathConflict, match=r"a script named python3\.13, as the base's /usr/bin/python3\.13"):
        make(store, [put(store, wheel)])


def test_a_wheels_script_cannot_be_a_whiteout(store: DiskStore) -> None:
    """The names of entry points are no names of the archive."""
    wheel = make_wheel("evil", "1.0", files={"evil.py": ""}, entry_points={".wh.python3.13": "evil:main"})
    with pytest.raises(PathConflict, match=r"/usr/local/bin/\.wh\.python3\.13, whose name would delete files"):
        make(store, [put(store, wheel)])


def test_a_locked_distribution_replaces_the_bases(store: DiskStore) -> None:
    have = {f"{SITE}/demo.py": b"old", f"{SITE}/gone.py": b"old", f"{SITE}/demo-0.9.dist-info/RECORD": b""}
    record = b"demo.py,,\ngone.py,,\ndemo-0.9.dist-info/RECORD,,\n"
    folders = [folder("/".join(SITE.split("/")[: n + 1])) for n in range(1, 5)]
    entries = [*BASE, *folders, folder(f"{SITE}/demo-0.9.dist-info"), *(file(path) for path in have)]
    image = base(entries)
    found = replaced(image, ["demo"], lambda path: record)
    (layer,) = make(store, [put(store, SIMPLE)], Site(image, None, found)).layers
    with unpack(store, layer) as tar:
        names = set(tar.getnames())
    assert f"{SITE}/.wh.gone.py" in names
    assert f"{SITE}/demo-0.9.dist-info/.wh.RECORD" in names
    assert f"{SITE}/demo.py" in names
    assert f"{SITE}/.wh.demo.py" not in names


# groups


def artifact(name: str, size: int = 1000, tag: str = "py3-none-any") -> Artifact:
    digest = Digest(hashlib.sha256(f"{name}{size}".encode()).hexdigest())
    return Artifact(name=name, version="1", filename=f"{name}-1-{tag}.whl", digest=digest, size=size)


def test_a_changed_wheel_changes_one_layer() -> None:
    names = [f"package-{number}" for number in range(60)]
    before = group([artifact(name) for name in names], 50)
    after = group([artifact(name, 2000 if name == "package-30" else 1000) for name in names], 50)
    assert len(before) == GROUPS
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1


def test_an_added_wheel_moves_no_other() -> None:
    names = [f"package-{number}" for number in range(60)]
    before = group([artifact(name) for name in names], 50)
    after = group([artifact(name) for name in [*names, "another"]], 50)
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1


def test_pure_and_native_are_never_mixed_and_big_ones_are_alone() -> None:
    rows = [artifact(f"p{n}") for n in range(9)] + [artifact(f"n{n}", 9, "cp313-cp313-linux_x86_64") for n in range(9)]
    rows += [artifact("big", BIG), artifact("bigger", BIG * 2, "cp313-cp313-linux_x86_64")]
    groups = group(rows, 50)
    assert groups[:2] == ((rows[-2],), (rows[-1],))
    assert all(len({each.pure for each in members}) == 1 for members in groups)


def test_the_budget_holds() -> None:
    rows = [artifact(f"big-{number}", BIG + number) for number in range(200)]
    groups = group(rows, 50)
    assert len(groups) + 50 <= 120
    assert sorted(each.name for members in groups for each in members) == sorted(each.name for each in rows)
    assert {members[0].name for members in groups if len(members) == 1} >= {"big-199", "big-198"}


def several(store: DiskStore) -> list[Artifact]:
    """Wheels with layers of their own."""
    rows = [make_wheel(f"part{n}", "1.0", files={f"part{n}/data.bin": os.urandom(5 << 20)}) for n in range(3)]
    return [put(store, row) for row in rows]


def kept(store: DiskStore) -> dict[str, bytes]:
    """Everything that is remembered."""
    return {str(path.relative_to(store.path)): path.read_bytes() for path in store.path.rglob("maps/*/*")}


def test_other_processes_make_the_same_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_IT", 0)
    stores = [DiskStore(tmp_path / name) for name in ("alone", "helped")]
    artifacts = several(stores[0])
    for row in artifacts:
        with stores[0].open(row.digest) as file, stores[1].writer() as writer:
            writer.write(file.read())
            writer.commit()
    site = replace(Site(base()), observer=Observing)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    alone = make_layers(artifacts, site, stores[0], quiet, taken=50)
    started: list[ProcessHelper] = []
    ready: list[Descriptor] = []

    def helper() -> ProcessHelper:
        started.append(ProcessHelper(stores[1]))
        return started[-1]

    told: list[None] = []

    def make() -> WheelLayers:
        words: dict[str, Any] = {"helper": helper, "ready": ready.append, "making": lambda: told.append(None)}
        return make_layers(artifacts, site, stores[1], quiet, taken=50, cores=3, **words)

    helped = make()
    assert helped == alone
    assert len(told) == 1
    assert kept(stores[1]) == kept(stores[0])
    assert len(started) == 2
    assert sorted(ready, key=str) == sorted((row.descriptor for row in alone.layers), key=str)
    assert all(row._process.poll() == 0 for row in started)
    # What is there is not made again, and nobody is started for it.
    again = make()
    assert [row.descriptor for row in again.layers] == [row.descriptor for row in alone.layers]
    assert (len(started), len(told)) == (2, 1)


def test_a_helper_that_is_lost_costs_nothing_but_time(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_IT", 0)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    artifacts = several(store)

    def lost() -> ProcessHelper:
        found = ProcessHelper(store)
        found._process.kill()
        return found

    made = make_layers(artifacts, Site(base()), store, quiet, taken=50, cores=3, helper=lost)
    assert len(made.layers) == 3

    def none() -> ProcessHelper:
        raise OSError("no more processes")

    again = make_layers(several(store), Site(base()), store, quiet, taken=50, cores=3, helper=none)
    assert len(again.layers) == 3


def test_what_is_wrong_with_a_wheel_is_told_by_a_helper_as_well(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WORTH_IT", 0)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    rows = []
    for n in range(3):
        name, data = make_wheel(f"part{n}", "1.0", files={f"part{n}/data.bin": os.urandom(5 << 20)})
        at = data.index(b"data.bin") + (1 << 20)
        rows.append(put(store, (name, data[:at] + bytes(8) + data[at + 8 :])))
    started: list[ProcessHelper] = []

    def helper() -> ProcessHelper:
        started.append(ProcessHelper(store))
        return started[-1]

    with pytest.raises(UnsafeWheel, match=r"data\.bin"):
        make_layers(rows, Site(base()), store, quiet, taken=50, cores=3, helper=helper)
    assert all(row._process.poll() is not None for row in started)
    assert list((store.path / "tmp").iterdir()) == []


class Once:
    """Starts one helper, which is kept to be looked at."""

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        self.started: list[ProcessHelper] = []

    def __call__(self) -> ProcessHelper:
        self.started.append(ProcessHelper(self._store))
        return self.started[-1]


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every layer is read by a helper if one is there; for each that is written here, whether it was."""
    monkeypatch.setattr(module, "_WORTH_READING", 0)
    monkeypatch.setattr(reading_ahead, "_WORTH_IT", 0)
    seen: list[bool] = []
    fulfil = module.fulfil

    def watched(store: Store, order: Order, progress: Callable[[int], object], ahead: Helper | None = None) -> Layer:
        seen.append(ahead is not None)
        return fulfil(store, order, progress, ahead)

    monkeypatch.setattr(module, "fulfil", watched)
    return seen


# Own content and members of the wheel, joined, stored and empty, larger than what is sent at a time and smaller.
MIXED = make_wheel(
    "Demo-Project",
    "1.0",
    files={
        "demo/__init__.py": "x = 1\n" * 500,
        "demo/empty.py": "",
        "demo/large.bin": os.urandom(1 << 20) + bytes(3 << 20),
        "Demo_Project-1.0.data/scripts/tool": "#!python\nprint('tool')\n",
    },
    entry_points={"demo": "demo.cli:main"},
)


@pytest.mark.parametrize("locked", [True, False])
def test_a_layer_that_is_read_by_another_process_is_the_same(tmp_path: Path, reading: list[bool], locked: bool) -> None:
    site = replace(Site(base()), observer=Observing)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    stores = [DiskStore(tmp_path / name) for name in ("alone", "helped")]
    helper = Once(stores[1])
    alone, helped = (
        make_layers([put(store, MIXED, locked=locked)], site, store, quiet, taken=50, helper=start)
        for store, start in zip(stores, (None, helper), strict=True)
    )
    assert reading == [False, True]
    assert helped == alone
    assert kept(stores[1]) == kept(stores[0])
    assert [row._process.poll() for row in helper.started] == [0]


def test_a_helper_that_has_something_else_to_do_reads_the_rest(tmp_path: Path, reading: list[bool]) -> None:
    site = replace(Site(base()), observer=Observing)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    stores = [DiskStore(tmp_path / name) for name in ("alone", "helped")]
    asked: list[int] = []

    class Busy(ProcessHelper):
        looked = 0

        @property
        def busy(self) -> bool:
            self.looked += 1
            return self.looked <= 2

        def stream(self, work: Any, argument: Any) -> Generator[Any, None, None]:
            asked.append(len(argument[1]))
            return super().stream(work, argument)

    alone, helped = (
        make_layers([put(store, MIXED)], site, store, quiet, taken=50, helper=start)
        for store, start in zip(stores, (None, lambda: Busy(stores[1])), strict=True)
    )
    assert helped == alone
    assert kept(stores[1]) == kept(stores[0])
    with unpack(stores[0], alone.layers[0]) as tar:
        own = {"RECORD", "INSTALLER", "demo", "tool"}
        members = [row for row in tar.getmembers() if row.isfile() and row.name.rpartition("/")[2] not in own]
    assert asked == [len(members) - 2]


class Inline:
    """Implements ``ports.helper.Helper`` in this process; ``ahead`` is how many batches nobody has taken, each time."""

    busy = False
    works = False

    def __init__(self, store: DiskStore, ahead: int) -> None:
        self._store = store
        self._ahead = ahead

    def run(self, work: Any, argument: Any, progress: Any) -> Any:
        return work(self._store, pickle.loads(pickle.dumps(argument)), progress)

    def stream(self, work: Any, argument: Any) -> Generator[Any, None, None]:
        sent: list[bytes] = []

        def send(value: object) -> int:
            sent.append(pickle.dumps(value, 5))
            return self._ahead

        Inline.works = True
        work(self._store, pickle.loads(pickle.dumps(argument)), send)
        Inline.works = False
        yield from map(pickle.loads, sent)

    def stop(self) -> None: ...

    def dismiss(self) -> None: ...

    def close(self) -> None: ...


class Counting(Looking):
    """For each file that was looked at, whether the helper did it."""

    ended: ClassVar[list[bool]] = []

    def end(self) -> Seen | None:
        self.ended.append(Inline.works)
        return super().end()


class Counted(Observing):
    look = Counting


@pytest.mark.parametrize("ahead", [0, 8])
def test_whoever_has_time_looks_at_the_files(
    tmp_path: Path, reading: list[bool], ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is seen is the same, and nothing is looked at twice."""
    files = {f"demo/{n}.py": f"import imp\n# {n}\n" + "# = 1\n" * 50_000 for n in range(10)}
    wheel = make_wheel("demo", "1.0", files=files)
    stores = [DiskStore(tmp_path / name) for name in ("alone", "helped")]
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    monkeypatch.setattr(Counting, "ended", [])
    alone = make_layers([put(stores[0], wheel)], replace(Site(base()), observer=Observing), stores[0], quiet, taken=50)
    site = replace(Site(base()), observer=Counted)
    helped = make_layers(
        [put(stores[1], wheel)], site, stores[1], quiet, taken=50, helper=lambda: Inline(stores[1], ahead)
    )
    assert reading == [False, True]
    assert helped == alone
    assert kept(stores[1]) == kept(stores[0])
    with unpack(stores[0], alone.layers[0]) as tar:
        assert len(Counting.ended) == len([row for row in tar.getmembers() if row.isfile()])
    assert any(Counting.ended) == (ahead > 0)
    assert not all(Counting.ended)


def test_what_is_wrong_with_a_wheel_that_is_read_by_another_process(store: DiskStore, reading: list[bool]) -> None:
    name, data = make_wheel("demo", "1.0", files={"demo/data.bin": os.urandom(5 << 20)})
    at = data.index(b"data.bin") + (3 << 20)
    broken = put(store, (name, data[:at] + bytes(8) + data[at + 8 :]))
    helper = Once(store)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    with pytest.raises(UnsafeWheel, match=r"data\.bin"):
        make_layers([broken], Site(base()), store, quiet, taken=50, helper=helper)
    assert reading == [True]
    assert all(row._process.poll() is not None for row in helper.started)
    assert list((store.path / "tmp").iterdir()) == []


def test_a_full_disk_ends_the_process_that_reads(
    store: DiskStore, reading: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = put(store, make_wheel("demo", "1.0", files={"demo/data.bin": os.urandom(20 << 20)}))
    helper = Once(store)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    write = DiskWriter.write

    def full(self: DiskWriter, data: bytes | memoryview) -> None:
        if self._size > 1 << 20:
            raise StoreError("the disk is full")
        write(self, data)

    monkeypatch.setattr(DiskWriter, "write", full)
    with pytest.raises(StoreError, match="full"):
        make_layers([wheel], Site(base()), store, quiet, taken=50, helper=helper)
    assert reading == [True]
    assert [row._process.poll() is not None for row in helper.started] == [True]
    assert list((store.path / "tmp").iterdir()) == []
    assert [row.name for row in (store.path / "blobs/sha256").iterdir()] == [wheel.digest.hex]


def test_a_process_that_is_lost_while_it_reads(store: DiskStore, reading: list[bool]) -> None:
    """The layer is read and written once more, here."""
    wheel = put(store, make_wheel("demo", "1.0", files={f"demo/{n}.bin": os.urandom(2 << 20) for n in range(20)}))
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")

    class Killed(ProcessHelper):
        def stream(self, work: Any, argument: Any) -> Generator[Any, None, None]:
            for number, sent in enumerate(super().stream(work, argument)):
                yield sent
                if number == 10:
                    self._process.kill()

    def helper() -> ProcessHelper:
        return Killed(store)

    (layer,) = make_layers([wheel], Site(base()), store, quiet, taken=50, helper=helper).layers
    assert reading == [True, False]
    with unpack(store, layer) as tar:
        assert len([row for row in tar.getnames() if row.endswith(".bin")]) == 20
    assert list((store.path / "tmp").iterdir()) == []
