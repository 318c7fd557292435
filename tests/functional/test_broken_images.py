"""Images that are broken or hostile, given to the verbs that read one: an error that says so, or the right facts.

Bombs are read by a process of its own with little memory, which would end with a traceback if it wanted more.
"""

import gzip
import hashlib
import json
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, files
from factories.image import Content, File, Files, Hard, Layout, Link, make_image, make_tar, tagged
from factories.python_image import PATH, debian
from machinery import Ran, serving

from dpbuild.oci import mediatype

try:
    from compression.zstd import compress as zstd
except ImportError:
    from backports.zstd import compress as zstd

CONFIG: dict[str, object] = {"Env": [PATH], "Entrypoint": ["/usr/bin/python3.13"]}
MEMORY = 1 << 30
# Far above what any of them takes; a process that hangs is ended by it.
LONGEST = 300.0
Inspect = Callable[..., Ran]


def image(
    folder: Path, *blobs: bytes, media_type: str = mediatype.OCI_LAYER_GZIP, diff_ids: tuple[str, ...] = ()
) -> str:
    """A layout whose layers are these very bytes; gives the reference. Without diffIDs they are not reached."""
    layout = Layout(folder)
    rows = [layout.put(blob, media_type) for blob in blobs]
    found = diff_ids or tuple(f"sha256:{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(len(blobs)))
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": CONFIG,
        "rootfs": {"type": "layers", "diff_ids": list(found)},
    }
    config = layout.json(document, mediatype.OCI_CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": {"mediaType": config.media_type, "digest": str(config.digest), "size": config.size},
        "layers": [{"mediaType": row.media_type, "digest": str(row.digest), "size": row.size} for row in rows],
    }
    layout.finish((layout.json(manifest, mediatype.OCI_MANIFEST), tagged("latest")))
    return f"oci:{folder}"


def header(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    row = tarfile.TarInfo(name)
    row.size, row.type, row.linkname = size, kind, link
    return row.tobuf(tarfile.PAX_FORMAT)


@pytest.fixture
def fails(bare: Bench) -> Callable[..., str]:
    """``inspect`` ends with 20 and one error."""

    def run(reference: str, message: str) -> str:
        before = files(bare.project)
        done = bare.run("inspect", reference, "--platform", "linux/amd64")
        return bare.left(done, 20, message, before)

    return run


@pytest.fixture
def limited(bare: Bench) -> Inspect:
    """``inspect`` in a process of its own that has no more than ``MEMORY``."""

    def run(reference: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "dpbuild", "inspect", reference, "--platform", "linux/amd64"],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
            env={**os.environ, **bare.environment},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


# What is damaged


GOOD = gzip.compress(make_tar(debian()[1]), 1, mtime=0)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (GOOD[: len(GOOD) // 2], "compressed stream ends too early"),
        (GOOD[:-3], "compressed stream ends too early"),
        (GOOD[:-8] + bytes(8), "gzip stream is damaged"),
        (gzip.compress(make_tar(debian()[1])[:1500]), "it ends within"),
        (gzip.compress(b"x" * 5000), "wrong checksum|no number"),
        (b"\x1f\x8b\x08" + b"\xff" * 500, "gzip stream is damaged"),
        (b"<html>not found</html>" * 100, "no number|wrong checksum"),
        (zstd(make_tar(debian()[1]))[:-10], "ends too early|zstd stream is damaged"),
        (GOOD, r"unpacks to sha256:[0-9a-f]{64}, but the config's diffID is"),
    ],
    ids=[
        "half",
        "no trailer",
        "wrong trailer",
        "half a tar",
        "no tar",
        "no gzip",
        "a web page",
        "zstd",
        "other diffID",
    ],
)
def test_a_layer_that_is_damaged(blob: bytes, message: str, fails: Callable[..., str], tmp_path: Path) -> None:
    reference = image(tmp_path / "image", blob)

    assert reference in fails(reference, message)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "fewer than|truncated|bytes"),
        (lambda data: data + b"x", "bytes"),
        (lambda data: data[:-100] + bytes(100), "digest|damaged|sha256"),
    ],
    ids=["cut off", "longer", "changed"],
)
def test_a_blob_that_is_not_its_digests(
    damage: Callable[[bytes], bytes], message: str, fails: Callable[..., str], tmp_path: Path
) -> None:
    made = make_image(tmp_path / "image", *debian(), config=CONFIG)
    blob = made.blob(made.layers[1])
    blob.write_bytes(damage(blob.read_bytes()))

    fails(f"oci:{made.path}", message)


def test_a_byte_of_a_base_layer_in_a_registry(need: Callable[..., None], dpbuild: Callable, tmp_path: Path) -> None:
    """A registry that hands out other bytes than it was given; with the right ones it goes on."""
    need("registry", "skopeo")
    made = make_image(tmp_path / "image", *debian(), config=CONFIG)
    (tmp_path / "registry").mkdir()
    with serving(tmp_path / "registry") as address:
        words = ("--dest-tls-verify=false", f"oci:{made.path}", f"docker://{address}/base:1")
        subprocess.run(["skopeo", "copy", "-q", *words], check=True)
        (kept,) = (tmp_path / "registry").rglob(f"{made.blob(made.layers[1]).name}/data")
        right = kept.read_bytes()
        kept.write_bytes(right[:-20] + bytes([right[-20] ^ 1]) + right[-19:])
        env = {"DPBUILD_CACHE_DIR": str(tmp_path / "store")}
        done = dpbuild("inspect", f"{address}/base:1", env=env, check=False)
        assert (done.status, done.out) == (90, "")
        assert made.blob(made.layers[1]).name in done.err
        kept.write_bytes(right)
        assert dpbuild("inspect", f"{address}/base:1", env=env).out


# What leads out, or nowhere


@pytest.mark.parametrize(
    "files",
    [
        {"../outside": b""},
        {"usr/../../outside": b""},
        {"usr/lib/..": b""},
        {"a": b"", "b": Hard("../a")},
        {"a": b"", "b": Hard("nowhere")},
        {"a": b"", "a/b": b""},
        {"loop": Link("loop"), "loop/a": b""},
        {"one": Link("two"), "two": Link("one"), "one/a": b""},
    ],
)
def test_entries_that_no_engine_unpacks(files: Files, fails: Callable[..., str], tmp_path: Path) -> None:
    made = make_image(tmp_path / "image", *debian(), files, config=CONFIG)

    fails(f"oci:{made.path}", "leads out|cannot be linked|is no folder|too many symbolic links")


def test_absolute_names_devices_and_links_that_leave_the_image_are_read(bare: Bench) -> None:
    """As engines read them: from the image's root, and never from this machine's."""
    system, libraries, python = debian()
    odd: Files = {
        "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\n",
        "dev": Link("../../../../dev"),
        "usr/bin/sh": Link("/../../../bin/bash"),
        "usr/bin/loop": Link("loop"),
        "etc/ssl": Link("/proc/self/root/etc/ssl"),
    }
    nodes = (
        header("sda", kind=tarfile.BLKTYPE)
        + header("null", kind=tarfile.CHRTYPE)
        + header("pipe", kind=tarfile.FIFOTYPE)
    )
    absolute = {f"/{path}": content for path, content in python.items()}
    made = make_image(bare.tmp / "image", system, libraries, absolute, nodes + make_tar(odd), config=CONFIG)
    plain = make_image(bare.tmp / "plain", *debian(), config=CONFIG)

    words = ("inspect", "--json", "--platform", "linux/amd64")
    facts = json.loads(bare.run(*words, f"oci:{made.path}", check=True).out)["facts"]
    usual = json.loads(bare.run(*words, f"oci:{plain.path}", check=True).out)["facts"]

    assert facts["surroundings"].pop("users") == [
        {"name": "root", "uid": 0, "gid": 0, "home": "/root", "shell": "/sbin/nologin"}
    ]
    assert facts["surroundings"]["shells"] == facts["surroundings"]["certificates"]["bundles"] == []
    del facts["surroundings"], usual["surroundings"]
    assert facts == usual


@pytest.mark.parametrize(
    "content",
    [Link("python3.13"), Link("python3"), Link("/nowhere"), File(b"\x7fELF", 0o755), File(b"", 0o755)],
    ids=["a loop", "a longer loop", "dangling", "cut off", "empty"],
)
def test_an_interpreter_that_is_none(content: Content, fails: Callable[..., str], tmp_path: Path) -> None:
    made = make_image(tmp_path / "image", *debian(), {"usr/bin/python3.13": content}, config=CONFIG)

    fails(f"oci:{made.path}", "there is no Python|the interpreter cannot be read")


# What takes time and memory


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb(kind: str, limited: Inspect, tmp_path: Path) -> None:
    """It says 64 GiB, and there is more of it than anybody should unpack, in members or frames one after the other."""
    pack = (lambda data: gzip.compress(data, 9, mtime=0)) if kind == "gzip" else zstd
    blob = pack(header("zeros", size=64 << 30)) + pack(bytes(64 << 20)) * 32
    media_type = mediatype.OCI_LAYER_GZIP if kind == "gzip" else mediatype.OCI_LAYER_ZSTD
    done = limited(image(tmp_path / "image", blob, media_type=media_type))

    assert done.status == 20, done.err
    assert "it unpacks to more than" in done.err


@pytest.mark.slow
def test_a_million_entries(limited: Inspect, tmp_path: Path) -> None:
    done = limited(image(tmp_path / "one", gzip.compress(header("f") * 1_000_000, 1)))

    assert done.status == 20, done.err
    assert "it has more than 500000 entries" in done.err


@pytest.mark.slow
def test_a_million_entries_in_several_layers(limited: Inspect, tmp_path: Path) -> None:
    tars = [header(f"f{number}") * 350_000 for number in range(3)]
    diff_ids = tuple(f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars)
    done = limited(image(tmp_path / "several", *(gzip.compress(tar, 1) for tar in tars), diff_ids=diff_ids))

    assert done.status == 20, done.err
    assert "the layers have more than 1000000 entries" in done.err


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("etc/passwd", bytes(3 << 20), "/etc/passwd has 3145728 bytes"),
        ("etc/os-release", bytes(200 << 20), "/os-release has 209715200 bytes"),
        ("var/lib/dpkg/status", b"\n" * (65 << 20), "/var/lib/dpkg/status has 68157440 bytes"),
        ("var/lib/chisel/manifest.wall", zstd(bytes(512 << 20)), "list of packages cannot be read: it unpacks"),
        ("usr/lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py", b"(" * (3 << 20), "has 3145728 bytes"),
        (
            "usr/lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py",
            b"(" * 900_000,
            "build variables cannot be read",
        ),
    ],
    ids=["passwd", "os-release", "dpkg", "chisel", "a large sysconfig", "a deep sysconfig"],
)
def test_files_that_facts_are_read_from(path: str, data: bytes, message: str, limited: Inspect, tmp_path: Path) -> None:
    files: Files = {"etc/os-release": File(b"ID=x\n"), path: File(data)}
    made = make_image(tmp_path / "image", *debian(), files, config=CONFIG)
    done = limited(f"oci:{made.path}")

    assert done.status == 20, done.err
    assert message.split("|", maxsplit=1)[0] in done.err or message.rsplit("|", maxsplit=1)[-1] in done.err


# The other verbs


@pytest.mark.parametrize("verb", ["build", "lock", "check", "sbom", "diff"])
@pytest.mark.parametrize("kind", ["damaged", "hostile"])
def test_every_verb_that_reads_an_image(verb: str, kind: str, bare: Bench) -> None:
    blob = GOOD[:-8] + bytes(8) if kind == "damaged" else gzip.compress(header("../x") + bytes(1024))
    reference = image(bare.tmp / "image", blob)
    other = make_image(bare.tmp / "other", *debian(), config=CONFIG)
    words = {
        "build": ("build", bare.project, "-o", bare.output, "--base", reference),
        "lock": ("lock", bare.project, "--base", reference),
        "check": ("check", reference, "--platform", "linux/amd64"),
        "sbom": ("sbom", reference, "--platform", "linux/amd64"),
        "diff": ("diff", f"oci:{other.path}", reference, "--platform", "linux/amd64"),
    }[verb]
    done = bare.run(*words)

    assert done.status == 20, done.err
    assert "a layer cannot be read" in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not bare.output.exists()
