"""Both suites from Debian's own mirrors, against Debian's own ldconfig and a real engine."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dpbuild.adapters.debian import DebianArchive, HttpDownload, host_mirrors
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.registry.transport import Transport
from dpbuild.adapters.source.compose import ComposeSource
from dpbuild.adapters.store import DiskStore
from dpbuild.archive import read
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.debian.sources import Mirrors
from dpbuild.debian.suites import SUITES
from dpbuild.errors import BaseImageError
from dpbuild.oci import codec
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference

pytestmark = [pytest.mark.network]
AMD64 = Platform("linux", "amd64")


def mirrors() -> Mirrors:
    host = host_mirrors()
    return Mirrors(
        main=os.environ.get("DPBUILD_DEBIAN_MIRROR", "") or host.main,
        security=os.environ.get("DPBUILD_DEBIAN_SECURITY_MIRROR", "") or host.security,
    )


@pytest.fixture(scope="module")
def download() -> HttpDownload:
    if not mirrors().main or not mirrors().security:
        pytest.skip("no Debian mirror is configured")
    proxies = Proxies(http=os.environ.get("http_proxy", ""), https=os.environ.get("https_proxy", ""))
    ca_bundle = os.environ.get("SSL_CERT_FILE")
    return HttpDownload(
        Transport(proxies=proxies, ca_bundle=ca_bundle, timeout=60, connections=4, user_agent="dpbuild-test")
    )


def compose(suite: str, platform: Platform, download: Callable[[str], Iterator[bytes]], store: Path) -> ComposeSource:
    archive = DebianArchive(mirrors(), download, now=datetime.now(UTC))
    reference = ComposeReference(suite=suite, variant="nonroot")
    return ComposeSource(reference, (platform,), DiskStore(store), archive)


def manifest_of(source: ComposeSource) -> Manifest:
    found = codec.decode(source.resolve()[1])
    assert isinstance(found, Manifest)
    return found


def tree_of(source: ComposeSource, store: Path) -> FileTree:
    layers: list[list[Entry]] = []
    for layer in manifest_of(source).layers:
        with DiskStore(store).open(layer.digest) as blob:
            stream, _ = read.open_layer(blob, limit=1 << 30)
            layers.append([entry for entry, _ in read.entries(stream)])
    return FileTree.of(layers)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compose")


@pytest.mark.parametrize("suite", sorted(SUITES))
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_base_is_whole(suite: str, architecture: str, download: HttpDownload, stores: Path):
    source = compose(suite, Platform("linux", architecture), download, stores)
    manifest = manifest_of(source)
    config = codec.decode_config(source.manifest(manifest.config))
    assert [row.created_by.split(" ")[0] for row in config.history] == [row.label for row in SUITES[suite].items]
    tree = tree_of(source, stores)
    minor = SUITES[suite].python
    assert tree.resolve("/usr/bin/python") == tree.resolve("/usr/bin/python3") == f"usr/bin/python{minor}"
    assert tree.get("/usr/local") is None
    facts = {path: tree.get(path) for path in ("tmp", "home/nonroot", "root", "usr/lib/os-release")}
    assert {path: (entry.mode, entry.uid) for path, entry in facts.items() if entry} == {
        "tmp": (0o1777, 0),
        "home/nonroot": (0o700, 65532),
        "root": (0o700, 0),
        "usr/lib/os-release": (0o555, 0),
    }
    names = set(tree.children("/var/lib/dpkg/status.d"))
    assert names >= set(SUITES[suite].packages("nonroot"))
    link = tree.get("lib")
    assert link is not None
    assert link.kind is (Kind.SYMLINK if suite == "debian13" else Kind.DIRECTORY)
    assert ("etc/ld.so.cache" in tree) == (suite == "debian13")
    assert not any("/dpkg/info/" in path for path in tree.paths())


def test_another_store_gives_the_same_digest(download: HttpDownload, stores: Path, tmp_path: Path):
    first = compose("debian13", AMD64, download, stores).resolve()
    assert compose("debian13", AMD64, download, tmp_path / "other").resolve() == first


@pytest.mark.parametrize("suite", ["trixie", "trixie-updates", "trixie-security"])
def test_one_changed_byte_in_the_real_release_stops(suite: str, download: HttpDownload, tmp_path: Path):
    def changed(url: str) -> Iterator[bytes]:
        data = b"".join(download(url))
        if url.endswith(f"/{suite}/InRelease"):
            at = data.index(b"main/binary-amd64/Packages.xz") - 10
            data = data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
        yield data

    with pytest.raises(BaseImageError, match="not signed by Debian's archive keys") as caught:
        compose("debian13", AMD64, changed, tmp_path / "store").resolve()
    assert caught.value.exit_code == 20
    assert (caught.value.where or "").endswith(f"/{suite}/InRelease")
    left = [path for part in ("blobs", "maps", "tmp") for path in (tmp_path / "store" / part).rglob("*")]
    assert [path for path in left if path.is_file()] == []


# With the engine.

PROGRAM = """
import ctypes, ctypes.util, hashlib, os, pwd, sqlite3, ssl, sys, zoneinfo
print(*sys.version_info[:2], os.getuid(), pwd.getpwuid(65532).pw_dir, len(ssl.create_default_context().get_ca_certs()) > 100)
print(ctypes.util.find_library("c"), ctypes.util.find_library("crypto"), ctypes.util.find_library("stdc++"))
print(zoneinfo.ZoneInfo("Europe/Berlin"), os.path.exists("/usr/local"))
"""
SAID = {
    "debian12": [
        "3 11 65532 /home/nonroot True",
        "None None None",
        "Europe/Berlin False",
    ],
    "debian13": [
        "3 13 65532 /home/nonroot True",
        "libc.so.6 libcrypto.so.3 libstdc++.so.6",
        "Europe/Berlin False",
    ],
}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def layout(source: ComposeSource, folder: Path) -> str:
    """An OCI layout, written as the spec says."""
    descriptor, data = source.resolve()
    manifest = manifest_of(source)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / descriptor.digest.hex).write_bytes(data)
    for row in (manifest.config, *manifest.layers):
        (blobs / row.digest.hex).write_bytes(b"".join(source.blob(row)))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    row = codec.encode_descriptor(descriptor) | {"annotations": {"org.opencontainers.image.ref.name": "base"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}))
    return f"oci:{folder}:base"


@pytest.fixture(params=sorted(SUITES))
def loaded(
    request: pytest.FixtureRequest, download: HttpDownload, stores: Path, tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """A suite's base in the engine: the suite and the image's name."""
    source = compose(request.param, AMD64, download, stores)
    name = f"dpbuild-test-compose:{request.param}-{os.getpid()}"
    run("skopeo", "copy", "--quiet", layout(source, tmp_path / "layout"), f"docker-daemon:{name}")
    yield request.param, name
    run("docker", "rmi", "--force", name)


@pytest.mark.docker
@pytest.mark.skopeo
def test_the_engine_runs_it(loaded: tuple[str, str], tmp_path: Path):
    suite, name = loaded
    out = run("docker", "run", "--rm", "--network", "none", "--read-only", name, "-c", PROGRAM)
    assert out.splitlines() == SAID[suite]


@pytest.mark.docker
@pytest.mark.skopeo
@pytest.mark.parametrize("loaded", ["debian13"], indirect=True)
def test_the_cache_is_what_the_bases_own_ldconfig_writes(loaded: tuple[str, str], tmp_path: Path):
    _, name = loaded
    container = run(
        "docker", "create", "--network", "none", "--user", "0", "--entrypoint", "/sbin/ldconfig", name, "-X"
    ).strip()
    try:
        run("docker", "cp", f"{container}:/etc/ld.so.cache", str(tmp_path / "ours"))
        run("docker", "start", "--attach", container)
        run("docker", "cp", f"{container}:/etc/ld.so.cache", str(tmp_path / "theirs"))
    finally:
        run("docker", "rm", container)
    assert (tmp_path / "ours").stat().st_mtime == 0
    assert (tmp_path / "theirs").stat().st_mtime > 0
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
