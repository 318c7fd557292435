"""Composing from a small archive on loopback, signed by a throw-away key: the same, or nothing at all."""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from factories.debian import NOW, Archive, Served, certificate, contents, sign

from dpbuild.adapters.debian import DebianArchive, HttpDownload, archive_keys, host_mirrors
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.registry.transport import Transport
from dpbuild.adapters.source.compose import ComposeSource
from dpbuild.adapters.store import DiskStore
from dpbuild.debian.sources import Mirrors, snapshot
from dpbuild.debian.suites import SUITES
from dpbuild.errors import BaseImageError, DpbuildError, HashMismatch
from dpbuild.oci import codec
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference, parse

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
Compose = Callable[..., ComposeSource]


@pytest.fixture
def archive() -> Archive:
    found = Archive()
    found.fill(SUITES["debian13"].packages("debug"))
    return found


@pytest.fixture
def url(archive: Archive) -> Iterator[str]:
    with Served(archive) as served:
        yield served.url


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def compose(url: str, store: DiskStore) -> Compose:
    def make(
        reference: str = "compose:debian13:nonroot",
        platforms: tuple[Platform, ...] = (AMD64,),
        *,
        keys: tuple[bytes, ...] | None = None,
        **more: object,
    ) -> ComposeSource:
        transport = Transport(proxies=Proxies(), ca_bundle=None, timeout=10, connections=4, user_agent="test")
        mirrors = Mirrors(main=f"{url}/main", security=f"{url}/security/")
        debian = DebianArchive(
            mirrors,
            HttpDownload(transport, sleep=lambda seconds: None),
            now=NOW,
            keys=(certificate(),) if keys is None else keys,
        )
        found = parse(reference)
        assert isinstance(found, ComposeReference)
        if found.snapshot:
            debian = DebianArchive(
                snapshot(f"{url}/{{timestamp}}/{{archive}}", found.snapshot),
                HttpDownload(transport, sleep=lambda seconds: None),
                now=NOW,
                keys=(certificate(),),
                snapshot=found.snapshot,
            )
        return ComposeSource(found, platforms, more.pop("store", store), more.pop("archive", debian), **more)  # type: ignore[arg-type]

    return make


def kept(store: DiskStore) -> list[str]:
    return [
        str(path.relative_to(store.path))
        for part in ("blobs", "maps", "tmp")
        for path in (store.path / part).rglob("*")
        if path.is_file()
    ]


def manifest_of(source: ComposeSource) -> Manifest:
    descriptor, data = source.resolve()
    assert (Digest.of(data), len(data)) == (descriptor.digest, descriptor.size)
    found = codec.decode(data)
    assert isinstance(found, Manifest)
    return found


def unpacked(source: ComposeSource, layer: Descriptor) -> bytes:
    data = b"".join(source.blob(layer))
    assert (Digest.of(data), len(data)) == (layer.digest, layer.size)
    return gzip.decompress(data)


def members(source: ComposeSource, layer: Descriptor) -> dict[str, tarfile.TarInfo]:
    import io

    with tarfile.open(fileobj=io.BytesIO(unpacked(source, layer))) as found:
        return {row.name.removeprefix("./"): row for row in found}


def test_an_image_that_is_whole(compose: Compose):
    source = compose()
    manifest = manifest_of(source)
    config = codec.decode_config(source.manifest(manifest.config))
    assert len(manifest.layers) == len(config.diff_ids) == len(config.history) == 48
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        assert Digest.of(unpacked(source, layer)) == diff_id
    assert [row.created_by.split(" ")[0] for row in config.history] == [row.label for row in SUITES["debian13"].items]
    assert config.history[0].created_by == "base-files 1.0-1"
    assert (config.user, config.working_dir, config.cmd) == ("65532", "/home/nonroot", ())
    assert config.entrypoint == ("/usr/bin/python3.13",)
    assert config.env == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
        "LANG=C.UTF-8",
    )
    assert config.created == "1970-01-01T00:00:00Z"
    assert dict(manifest.annotations) == {
        "com.google.distroless.python.version": "3.13.5",
        "org.opencontainers.image.source": "https://github.com/GoogleContainerTools/distroless",
    }


def test_what_the_layers_hold(compose: Compose):
    source = compose()
    layers = dict(zip([row.label for row in SUITES["debian13"].items], manifest_of(source).layers, strict=True))
    assert list(members(source, layers["netbase"])) == [
        ".",
        "usr",
        "usr/share",
        "usr/share/doc",
        "usr/share/doc/netbase",
        "usr/share/doc/netbase/copyright",
        "var/lib/dpkg/status.d",
        "var/lib/dpkg/status.d/netbase",
        "var/lib/dpkg/status.d/netbase.md5sums",
    ]
    import io

    with tarfile.open(fileobj=io.BytesIO(unpacked(source, layers["cacerts"]))) as found:
        bundle = found.extractfile("./etc/ssl/certs/ca-certificates.crt")
        assert bundle is not None
        assert bundle.read() == b"aaa\nbbb\n"
    (cache,) = members(source, layers["ldconfig_cache"]).values()
    assert (cache.name, cache.mode, cache.mtime) == ("./etc/ld.so.cache", 0o644, 0)
    data = unpacked(source, layers["ldconfig_cache"])
    assert b"\0/lib/x86_64-linux-gnu/libexpat1.so.1\0" in data
    assert b"ldconfig (Debian GLIBC 2.41-12) stable release version 2.41" in data


def test_no_maintainer_script_runs_or_stays(archive: Archive, compose: Compose, tmp_path: Path):
    ran = tmp_path / "ran"
    script = f"#!/bin/sh\ntouch {ran}\n".encode()
    for architecture in ("amd64", "arm64"):
        scripts = dict.fromkeys(("preinst", "postinst"), script)
        archive.add("netbase", "2.0", architecture, contents("netbase", architecture), scripts=scripts)
    archive.publish()
    source = compose()
    layer = manifest_of(source).layers[1]
    assert b"Version: 2.0\n" in unpacked(source, layer)
    assert script not in unpacked(source, layer)
    assert not any("inst" in name for name in members(source, layer))
    assert not ran.exists()


def test_twice_the_same_and_the_second_time_from_the_store(
    archive: Archive, compose: Compose, store: DiskStore, tmp_path: Path
):
    first, _ = compose().resolve()
    archive.asked.clear()
    assert compose().resolve()[0] == first
    assert archive.asked == [
        "main/dists/trixie/InRelease",
        "main/dists/trixie-updates/InRelease",
        "security/dists/trixie-security/InRelease",
    ]
    assert compose(store=DiskStore(tmp_path / "other")).resolve()[0] == first
    # Only layers and what leads to them stay, no package.
    debs = {hashlib.sha256(data).hexdigest() for path, data in archive.files.items() if path.endswith(".deb")}
    assert not debs & {path.rpartition("/")[2] for path in kept(store)}


def test_users_and_debug(compose: Compose):
    for variant, layers, user, folder in (("latest", 48, "0", "/"), ("debug-nonroot", 49, "65532", "/home/nonroot")):
        source = compose(f"compose:debian13:{variant}")
        manifest = manifest_of(source)
        config = codec.decode_config(source.manifest(manifest.config))
        assert (len(manifest.layers), config.user, config.working_dir) == (layers, user, folder)
        if layers == 49:
            assert (config.variable("PATH") or "").endswith("/sbin:/bin:/busybox")
            assert members(source, manifest.layers[13])["busybox/sh"].linkname == "/busybox/busybox"


def test_several_platforms_make_an_index(compose: Compose):
    source = compose(platforms=(AMD64, ARM64))
    _, data = source.resolve()
    index = codec.decode(data)
    assert isinstance(index, Index)
    assert [row.platform for row in index.manifests] == [AMD64, ARM64]
    alone, _ = compose().resolve()
    assert index.manifests[0].digest == alone.digest
    manifest = codec.decode(source.manifest(index.manifests[1]))
    assert isinstance(manifest, Manifest)
    assert b"\0/lib/aarch64-linux-gnu/libexpat1.so.1\0" in unpacked(source, manifest.layers[-1])
    assert [row.platform for row in source.composition] == [AMD64, ARM64]


def test_the_newest_version_wins_and_only_its_package_moves(archive: Archive, compose: Compose):
    before = manifest_of(compose())
    security = archive.add("netbase", "1.0-1+deb13u1", "amd64", contents("netbase", "amd64"), suite="trixie-security")
    archive.add("netbase", "1.0-1~old", "amd64", contents("netbase", "amd64"), suite="trixie-updates")
    archive.publish()
    archive.asked.clear()
    source = compose()
    after = manifest_of(source)
    assert [row for row in archive.asked if row.endswith(".deb")] == [f"security/{security}"]
    changed = [i for i, (one, two) in enumerate(zip(before.layers, after.layers, strict=True)) if one != two]
    assert changed == [1]
    packages = {name: version for name, version, _ in source.composition[0].packages}
    assert packages["netbase"] == "1.0-1+deb13u1"
    assert packages["libc6"] == "2.41-12"
    assert source.composition[0].date == "2026-03-01T11:00:00Z"


def test_a_digest_is_answered_without_the_mirror(archive: Archive, compose: Compose):
    first, data = compose().resolve()
    archive.asked.clear()
    source = compose(f"compose:debian13:nonroot@{first.digest}")
    assert source.resolve() == (first, data)
    assert len(source.composition[0].packages) == 38
    assert archive.asked == []


def test_a_digest_that_cannot_be_had_any_more(archive: Archive, compose: Compose):
    other = Digest("0" * 64)
    with pytest.raises(BaseImageError, match=f"expected {other}"):
        compose(f"compose:debian13:nonroot@{other}").resolve()


def test_pinned_packages_come_from_the_pool_when_indices_have_moved_on(
    archive: Archive, compose: Compose, tmp_path: Path
):
    source = compose()
    first, _ = source.resolve()
    pins = {AMD64: source.composition[0].packages}
    archive.rows = {
        key: {name: row for name, row in rows.items() if "netbase" not in name} for key, rows in archive.rows.items()
    }
    archive.add("netbase", "1:7", "amd64", contents("tzdata", "amd64"))
    archive.publish()
    assert compose(store=DiskStore(tmp_path / "a")).resolve()[0] != first
    reference = f"compose:debian13:nonroot@{first.digest}"
    again = compose(reference, store=DiskStore(tmp_path / "b"), pinned=pins)
    assert again.resolve()[0] == first
    assert again.composition[0].packages == pins[AMD64]
    del archive.files["main/pool/main/n/netbase/netbase_1.0-1_amd64.deb"]
    with pytest.raises(BaseImageError, match=r"does not have netbase 1\.0-1") as caught:
        compose(reference, store=DiskStore(tmp_path / "c"), pinned=pins).resolve()
    assert "--upgrade-base" in (caught.value.hint or "")
    assert kept(DiskStore(tmp_path / "c")) == []


def test_offline(archive: Archive, compose: Compose):
    with pytest.raises(BaseImageError, match="offline"):
        compose(offline=True).resolve()
    first, _ = compose().resolve()
    archive.asked.clear()
    assert compose(offline=True).resolve()[0] == first
    assert compose(f"compose:debian13:nonroot@{first.digest}", offline=True).resolve()[0] == first
    with pytest.raises(BaseImageError, match="offline"):
        compose("compose:debian13:latest", offline=True).resolve()
    assert archive.asked == []


def test_a_damaged_layer_is_made_again(archive: Archive, compose: Compose, store: DiskStore):
    source = compose()
    first = manifest_of(source)
    layer = first.layers[1].digest
    (store.path / "blobs/sha256" / layer.hex).unlink()
    archive.asked.clear()
    assert manifest_of(compose()) == first
    assert [row for row in archive.asked if row.endswith(".deb")] == [
        "main/pool/main/n/netbase/netbase_1.0-1_amd64.deb"
    ]


# What must stop, and leave nothing.


def tampered_release(archive: Archive) -> None:
    path = "main/dists/trixie/InRelease"
    archive.files[path] = archive.files[path].replace(b"Origin: Debian", b"Origin: Debiam")


def unsigned_release(archive: Archive) -> None:
    path = "security/dists/trixie-security/InRelease"
    text = archive.files[path].split(b"\n\n", 1)[1].split(b"-----BEGIN PGP SIGNATURE")[0]
    archive.files[path] = text


def appended_to_release(archive: Archive) -> None:
    """What stands outside of the signed part must not count; here it names another suite."""
    path = "main/dists/trixie-updates/InRelease"
    archive.files[path] = archive.files["main/dists/trixie/InRelease"] + b"\nCodename: trixie-updates\n"


def another_suite(archive: Archive) -> None:
    archive.files["security/dists/trixie-security/InRelease"] = archive.files["main/dists/trixie/InRelease"]


def expired(archive: Archive) -> None:
    archive.valid_until = NOW - timedelta(seconds=1)
    archive.publish()


def from_the_future(archive: Archive) -> None:
    archive.date = NOW + timedelta(minutes=1)
    archive.publish()


def no_release(archive: Archive) -> None:
    del archive.files["main/dists/trixie-updates/InRelease"]


def no_packages_for_it(archive: Archive) -> None:
    path = "main/dists/trixie/InRelease"
    archive.files[path] = sign(
        b"Codename: trixie\nDate: Sun, 01 Mar 2026 11:00:00 UTC\nArchitectures: s390x\nComponents: main\nSHA256:\n"
    )


def missing_package(archive: Archive) -> None:
    for rows in archive.rows.values():
        for name in [name for name in rows if name.startswith("libffi8 ")]:
            del rows[name]
    archive.publish()


def tampered_index(archive: Archive) -> None:
    for path, data in archive.files.items():
        if path.startswith("main/dists/trixie/main/binary-amd64/"):
            archive.files[path] = data[:100] + bytes([data[100] ^ 1]) + data[101:]


def longer_index(archive: Archive) -> None:
    for path, data in archive.files.items():
        if path.startswith("main/dists/trixie/main/binary-amd64/"):
            archive.files[path] = data + b"more"


def tampered_package(archive: Archive) -> None:
    path = "main/pool/main/libf/libffi8/libffi8_1.0-1_amd64.deb".replace("libf/", "l/")
    data = archive.files[path]
    archive.files[path] = data[:-1] + bytes([data[-1] ^ 1])


def shorter_package(archive: Archive) -> None:
    path = "main/pool/main/l/libffi8/libffi8_1.0-1_amd64.deb"
    archive.files[path] = archive.files[path][:-2]


def no_package(archive: Archive) -> None:
    del archive.files["main/pool/main/l/libffi8/libffi8_1.0-1_amd64.deb"]


@pytest.mark.parametrize(
    ("damage", "error", "text"),
    [
        (tampered_release, BaseImageError, "not signed"),
        (unsigned_release, BaseImageError, "not signed"),
        (appended_to_release, BaseImageError, "InRelease is"),
        (another_suite, BaseImageError, "is that of trixie, expected trixie-security"),
        (expired, BaseImageError, "valid until"),
        (from_the_future, BaseImageError, "is dated"),
        (no_release, BaseImageError, "no suite trixie-updates"),
        (no_packages_for_it, BaseImageError, "no packages for amd64"),
        (missing_package, BaseImageError, "no package libffi8"),
        (tampered_index, HashMismatch, "Packages.xz has the sha256"),
        (longer_index, HashMismatch, "more than"),
        (tampered_package, HashMismatch, "libffi8 1.0-1 has the sha256"),
        (shorter_package, HashMismatch, "libffi8 1.0-1 has "),
        (no_package, BaseImageError, "does not have libffi8"),
    ],
)
def test_it_stops_and_leaves_nothing(
    archive: Archive,
    compose: Compose,
    store: DiskStore,
    damage: Callable[[Archive], None],
    error: type[DpbuildError],
    text: str,
):
    damage(archive)
    with pytest.raises(error, match=text.replace(".", r"\.")):
        compose().resolve()
    assert kept(store) == []


def test_another_key_is_not_debians(compose: Compose, store: DiskStore):
    with pytest.raises(BaseImageError, match="not signed by Debian's archive keys"):
        compose(keys=archive_keys()).resolve()
    assert kept(store) == []


def test_the_shipped_keys_are_debians():
    """Fingerprints as Debian publishes them: archive, security and stable keys of 12 and 13."""
    import pysequoia

    assert sorted(pysequoia.Cert.from_bytes(row).fingerprint.upper() for row in archive_keys()) == [
        "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
        "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",
        "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
        "4D64FEC119C2029067D6E791F8D2585B8783D481",
        "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
        "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
    ]


@pytest.mark.parametrize(
    ("reference", "platform", "text"),
    [
        ("compose:debian99", AMD64, "debian99 cannot be composed"),
        ("compose:debian13:tiny", AMD64, "no variant tiny"),
        ("compose:debian13", Platform("linux", "s390x"), "for linux/s390x"),
    ],
)
def test_what_cannot_be_composed(compose: Compose, reference: str, platform: Platform, text: str):
    with pytest.raises(BaseImageError, match=text):
        compose(reference, (platform,)).resolve()


def test_no_mirror_says_how_to_set_one(compose: Compose, tmp_path: Path):
    def unreachable(url: str) -> Iterator[bytes]:
        raise AssertionError(url)

    debian = DebianArchive(host_mirrors(tmp_path / "no-apt"), unreachable, now=NOW)
    with pytest.raises(BaseImageError, match="no Debian mirror is known") as caught:
        compose(archive=debian).resolve()
    assert "DPBUILD_DEBIAN_MIRROR" in (caught.value.hint or "")


def test_a_password_in_a_mirror_is_in_no_message(compose: Compose):
    debian = DebianArchive(
        Mirrors(main="http://joe:secret@127.0.0.1:1/debian", security="http://joe:secret@127.0.0.1:1/security"),
        HttpDownload(
            Transport(proxies=Proxies(), ca_bundle=None, timeout=2, connections=1, user_agent="test"),
            sleep=lambda seconds: None,
        ),
        now=NOW,
    )
    with pytest.raises(BaseImageError, match="cannot read from the mirror") as caught:
        compose(archive=debian).resolve()
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_an_index_is_json_that_others_read(compose: Compose):
    _, data = compose(platforms=(AMD64, ARM64)).resolve()
    assert json.loads(data)["manifests"][1]["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}


# snapshots

PAST = "20260110T060000Z"


@pytest.fixture
def past(archive: Archive) -> Archive:
    """The archive keeps what it was in January, when it was older and its indices were still valid."""
    old = Archive()
    old.fill(SUITES["debian13"].packages("debug"), version="0.9-1")
    old.date = datetime(2026, 1, 10, 2, 0, tzinfo=UTC)
    old.valid_until = datetime(2026, 1, 17, 2, 0, tzinfo=UTC)
    old.publish()
    for path, data in old.files.items():
        kind, _, rest = path.partition("/")
        archive.files[f"{PAST}/{'debian' if kind == 'main' else 'debian-security'}/{rest}"] = data
    return old


def test_a_snapshot_is_the_archive_as_it_was(archive: Archive, past: Archive, compose: Compose) -> None:
    now, then = compose(), compose(f"compose:debian13@{PAST}:nonroot")
    assert then.resolve()[0] != now.resolve()[0]
    (composition,) = then.composition
    assert {version for name, version, _ in composition.packages if name == "netbase"} == {"0.9-1"}
    assert composition.date == "2026-01-10T02:00:00Z"
    assert {path.split("/")[0] for path in archive.asked} == {"main", "security", PAST}
    # The packages decide, not the way to them: the same versions from a mirror are the same image.
    past.valid_until = None
    past.publish()
    archive.files |= past.files
    assert compose().resolve()[0] == then.resolve()[0]


def test_a_snapshot_is_kept_apart(archive: Archive, past: Archive, compose: Compose) -> None:
    then = compose(f"compose:debian13@{PAST}:nonroot").resolve()[0]
    now = compose().resolve()[0]
    offline = {"archive": None, "offline": True}
    assert compose(f"compose:debian13@{PAST}:nonroot", **offline).resolve()[0] == then
    assert compose(**offline).resolve()[0] == now


def test_pinned_packages_come_from_the_snapshots_pool(
    archive: Archive, past: Archive, compose: Compose, tmp_path: Path
) -> None:
    reference = f"compose:debian13@{PAST}:nonroot"
    first = compose(reference)
    digest = first.resolve()[0].digest
    pins = {AMD64: first.composition[0].packages}
    archive.asked.clear()
    again = compose(f"{reference}@{digest}", store=DiskStore(tmp_path / "b"), pinned=pins)
    assert again.resolve()[0].digest == digest
    assert {path.split("/")[0] for path in archive.asked} == {PAST}


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("20260109T000000Z", "no snapshot 20260109T000000Z of the suite trixie"),
        ("20260401T000000Z", "there is no snapshot of 20260401T000000Z yet"),
    ],
)
def test_a_snapshot_that_is_not_there(
    archive: Archive, past: Archive, compose: Compose, store: DiskStore, moment: str, words: str
) -> None:
    with pytest.raises(BaseImageError, match=words):
        compose(f"compose:debian13@{moment}:nonroot").resolve()
    assert kept(store) == []


@pytest.mark.parametrize(
    ("date", "until", "words"),
    [
        (datetime(2026, 1, 11, tzinfo=UTC), None, "it is dated 2026-01-11.* in the snapshot"),
        (datetime(2025, 12, 1, tzinfo=UTC), datetime(2025, 12, 8, tzinfo=UTC), "it was valid until 2025-12-08"),
    ],
)
def test_a_snapshot_of_another_time(
    archive: Archive, past: Archive, compose: Compose, date: datetime, until: datetime | None, words: str
) -> None:
    """A mirror that answers for another moment, as one in the middle might."""
    past.date, past.valid_until = date, until
    past.publish()
    archive.files |= {
        f"{PAST}/debian/{path[5:]}": data for path, data in past.files.items() if path.startswith("main/")
    }
    with pytest.raises(BaseImageError, match=words):
        compose(f"compose:debian13@{PAST}:nonroot").resolve()
