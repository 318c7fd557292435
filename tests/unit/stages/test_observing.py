"""What is told of a layer while it is made is what reading it tells."""

import hashlib
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from factories.elf import make_elf
from factories.wheel import make_wheel
from unit.stages.test_layers import BASE, SITE, base, file, folder, make, put

from dpbuild.adapters.store import DiskStore
from dpbuild.model.layer import Layer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.stages import inventory
from dpbuild.stages.layers.own import make_own, planned_data
from dpbuild.stages.layers.site import Site
from dpbuild.stages.proof import looking, scans
from dpbuild.stages.proof.looking import Looking
from dpbuild.stages.proof.observing import Observing
from dpbuild.stages.proof.scan import LayerScan

KEY = "-----BEGIN PRIVATE KEY-----\nx\n"
FILES = {
    "demo/__init__.py": "from ctypes.util import find_library\nfind_library('magic')\n" + "# long\n" * 2000,
    "demo/plain.py": "x = 1\n",
    "demo/empty.py": "",
    "demo/_native.cpython-313-x86_64-linux-gnu.so": make_elf(needed=("libpq.so.5",)) + bytes(300_000),
    "demo/ld-linux-x86-64.so.2": make_elf(soname="ld-linux-x86-64.so.2", payload=b"\0/opt/lib/\0/lib/\0"),
    "demo/broken.so": b"\x7fELF" + bytes(5000),
    "demo/key": KEY + "y" * 10_000,
    "demo/old.pyc": b"\xf3\r\r\n" + bytes(4) + b"12345678" + bytes(9000),
    "demo/data.bin": random.Random(1).randbytes(700_000),
    "demo.pth": "import demo\n",
    "demo-1.0.data/scripts/run": "#!python\nimport imp\n",
    "demo-1.0.data/scripts/shell": "#!/bin/sh\n" + "echo\n" * 3000,
    "demo-1.0.dist-info/sboms/x.cdx.json": '{"bomFormat": "CycloneDX"}' + " " * 9000,
}


def read(store: DiskStore, layer: Layer) -> tuple[LayerScan, inventory.Inventory]:
    """By reading it, as for an image that somebody else made."""
    for path in (store.path / "maps" / "facts").glob("*"):
        path.unlink()
    (found,) = scans.scan_layers((layer.descriptor,), (layer.diff_id,), store, lambda row: None)
    (listed,) = inventory.inventories((layer.descriptor,), store, lambda row: None)
    return found, listed


def kept(store: DiskStore, layer: Layer) -> tuple[LayerScan, inventory.Inventory]:
    """What was kept while it was made; nothing may be read for it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the layer was read")

    with mock.patch.object(scans, "read_layer", refuse), mock.patch.object(inventory, "read_layer", refuse):
        (found,) = scans.scan_layers((layer.descriptor,), (layer.diff_id,), store, refuse)
        (listed,) = inventory.inventories((layer.descriptor,), store, refuse)
    return found, listed


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def site(store: DiskStore) -> Site:
    return Site(base(), observer=Observing)


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("hashed", ["sha256", "sha512"])
def test_of_wheels(store: DiskStore, site: Site, locked: bool, hashed: str) -> None:
    more = {"requires": ["other>=1"], "entry_points": {"demo": "demo:main"}}
    wheel = make_wheel("demo", "1.0", "cp313-cp313-manylinux_2_28_x86_64", files=FILES, **more)  # type: ignore[arg-type]
    if hashed == "sha512":
        wheel = make_wheel(
            "demo", "1.0", "cp313-cp313-manylinux_2_28_x86_64", files=FILES, record=record("sha512", wheel[1]), **more
        )  # type: ignore[arg-type]
    (layer,) = make(store, [put(store, wheel, locked=locked)], site).layers
    found, listed = kept(store, layer)
    assert (found, listed) == read(store, layer)
    names = {entry.path.rpartition("/")[2]: found.files.get(number) for number, entry in enumerate(found.entries)}
    native, key, source = names["_native.cpython-313-x86_64-linux-gnu.so"], names["key"], names["__init__.py"]
    assert native is not None
    assert native.elf is not None
    assert native.elf.needed == ("libpq.so.5",)
    assert key is not None
    assert key.private_key
    assert source is not None
    assert [use.name for use in source.uses] == ["magic"]


def record(algorithm: str, wheel: bytes) -> bytes:
    """RECORD with another hash than wheels usually have."""
    import base64
    import io
    import zipfile

    rows = []
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for row in archive.infolist():
            data = archive.read(row)
            digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
            own = row.filename.endswith("/RECORD")
            rows.append(f"{row.filename},,\n" if own else f"{row.filename},{algorithm}={digest},{len(data)}\n")
    return "".join(rows).encode()


def test_of_whiteouts(store: DiskStore) -> None:
    folders = [folder("/".join(SITE.split("/")[: n + 1])) for n in range(1, 5)]
    image = base([*BASE, *folders, file(f"{SITE}/gone.py")])
    gone = (("demo", frozenset({f"{SITE}/gone.py"})),)
    site = Site(image, None, gone, observer=Observing)
    (layer,) = make(store, [put(store, make_wheel("demo", "1.0"))], site).layers
    both = kept(store, layer)
    assert f"{SITE}/.wh.gone.py" in {entry.path for entry in both[0].entries}
    assert both == read(store, layer)


def test_of_files_that_dpbuild_makes(store: DiskStore, site: Site) -> None:
    rows = [planned_data("/app/main.py", b"import imp\n", "app"), planned_data("/app/none", b"", "app")]
    layer = make_own(site, store, rows, "app", key="key")
    assert kept(store, layer) == read(store, layer)


@pytest.mark.parametrize("cut", [1000, 4096, 5000, 100_000])
def test_wherever_a_content_is_cut_the_same_is_told(store: DiskStore, cut: int) -> None:
    """A piece may end before anything can be told, and the next one then holds more than was waited for."""
    contents = {path: data if isinstance(data, bytes) else data.encode() for path, data in FILES.items()}

    def seen(pieces: Callable[[bytes], list[bytes]]) -> tuple[LayerScan, inventory.Inventory]:
        observer = Observing(store)
        with closing(observer.look()) as look:
            for path, data in contents.items():
                identity = ("sha256", hashlib.sha256(data).digest())
                take = look.begin(path, len(data), identity)
                for piece in pieces(data):
                    take(memoryview(piece))
                observer.file(file(path, len(data)), identity, look.end())
        layer = Layer(
            descriptor=Descriptor(media_type="x", digest=Digest("0" * 64), size=1),
            diff_id=Digest("0" * 64),
            comment="",
            size=1,
        )
        observer.keep(layer.descriptor)
        return kept(store, layer)

    whole = seen(lambda data: [data] if data else [])
    assert len(whole[0].files) > 5
    assert seen(lambda data: [data[at : at + cut] for at in range(0, len(data), cut)]) == whole


def test_a_file_larger_than_what_is_kept_for_files_has_memory_of_its_own(
    store: DiskStore, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_ROOM", 100_000)
    monkeypatch.setattr(looking, "_FREE", [])
    layer = make(store, [put(store, make_wheel("demo", "1.0", files=FILES))], site).layers[0]
    assert kept(store, layer) == read(store, layer)
    assert {len(room) for room in looking._FREE} == {100_000}


def test_a_file_too_large_for_memory_is_read_when_it_is_there(
    store: DiskStore, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_LARGEST", 100_000)
    monkeypatch.setattr(looking, "_FREE", [])
    layer = make(store, [put(store, make_wheel("demo", "1.0", files=FILES))], site).layers[0]
    listed = inventory.inventories((layer.descriptor,), store, fail)
    with pytest.raises(AssertionError):
        kept(store, layer)
    assert listed[0] == read(store, layer)[1]


def fail(*_: object) -> None:
    raise AssertionError("the layer was read")


def test_a_large_file_that_nobody_asks_for_is_not_kept_in_memory() -> None:
    """Most of a large wheel is that: tables, models, pictures."""
    with closing(Looking()) as seen:
        take: Callable[[bytes], object] = seen.begin("model.bin", 10 << 20, ("sha256", bytes(32)))
        for _ in range(10):
            take(bytes(1 << 20))
            assert seen._filled <= 4096
        assert seen.end() is None
