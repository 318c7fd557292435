"""JSON of the OCI image spec: strict when read, canonical when written."""

import json
from typing import Any

import pytest

from dpbuild.oci import mediatype
from dpbuild.oci.codec import (
    CodecError,
    canonical,
    decode,
    decode_config,
    decode_object,
    encode_config,
    encode_index,
    encode_manifest,
)
from dpbuild.oci.config import Healthcheck, History, ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform

DIGEST = "sha256:" + "ab" * 32


def row(**more: Any) -> dict[str, Any]:
    return {"mediaType": mediatype.OCI_LAYER_GZIP, "digest": DIGEST, "size": 3, **more}


def manifest(**more: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": row(), "layers": [row()], **more}
    return json.dumps({key: found for key, found in value.items() if found is not ...}).encode()


def index(**more: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [row()], **more}
    return json.dumps({key: found for key, found in value.items() if found is not ...}).encode()


MANIFEST = Manifest(
    media_type=mediatype.OCI_MANIFEST,
    config=Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(b"{}"), size=2),
    layers=(Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=Digest.of(b""), size=0, annotations=(("a", "b"),)),),
    annotations=(("x", "ä"), ("y", "z")),
)
INDEX = Index(
    media_type=mediatype.DOCKER_INDEX,
    manifests=(
        Descriptor(
            media_type=mediatype.DOCKER_MANIFEST,
            digest=Digest.of(b"m"),
            size=1,
            platform=Platform("linux", "arm64"),
        ),
        Descriptor(
            media_type=mediatype.DOCKER_MANIFEST,
            digest=Digest.of(b"n"),
            size=1,
            platform=Platform("linux", "amd64", "v3"),
        ),
    ),
)
CONFIG = ImageConfig(
    platform=Platform("linux", "arm64"),
    diff_ids=(Digest.of(b"1"), Digest.of(b"2")),
    history=(History(created_by="x", empty_layer=True), History(created="1970-01-01T00:00:00Z", comment="c")),
    created="1970-01-01T00:00:00Z",
    author="me",
    user="65532",
    env=("A=1", "B=2", "A=3"),
    entrypoint=("/usr/bin/python3",),
    cmd=("-m", "app"),
    working_dir="/app",
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    labels=(("k", "v"),),
    stop_signal="SIGTERM",
    healthcheck=Healthcheck(test=("CMD", "x"), interval=10**9, start_interval=2 * 10**9, retries=2),
    shell=("/bin/sh",),
)


def test_everything_comes_back() -> None:
    assert decode(encode_manifest(MANIFEST)) == MANIFEST
    assert decode(encode_index(INDEX)) == INDEX
    assert decode_config(encode_config(CONFIG)) == CONFIG
    empty = ImageConfig(platform=Platform("linux", "amd64"))
    assert decode_config(encode_config(empty)) == empty


def test_bytes_are_canonical() -> None:
    data = encode_manifest(MANIFEST)
    assert data == canonical(json.loads(data))
    assert " " not in data.decode()
    assert "ä".encode() in data
    assert canonical({"b": [1, None], "a": "ü\n"}) == '{"a":"ü\\n","b":[1,null]}'.encode()


def test_arm64_is_written_with_its_variant() -> None:
    rows = json.loads(encode_index(INDEX))["manifests"]
    assert [each["platform"] for each in rows] == [
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
        {"architecture": "amd64", "os": "linux", "variant": "v3"},
    ]


def test_empty_fields_of_a_config_are_left_out() -> None:
    value = json.loads(encode_config(ImageConfig(platform=Platform("linux", "amd64"))))
    assert value == {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
    }


def test_without_a_media_type_the_fields_decide() -> None:
    assert isinstance(decode(manifest(mediaType=...)), Manifest)
    assert isinstance(decode(index(mediaType=...)), Index)
    assert decode(manifest(mediaType=...), mediatype.DOCKER_MANIFEST).media_type == mediatype.DOCKER_MANIFEST
    assert decode(manifest(mediaType=...)).media_type == mediatype.OCI_MANIFEST


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (manifest(config=...), r"\$\.config is missing"),
        (manifest(layers=...), r"\$\.layers is missing"),
        (manifest(layers={}), r"\$\.layers is not list"),
        (manifest(layers=[row(), row(size="3")]), r"\$\.layers\[1\]\.size is not int"),
        (manifest(layers=[row(size=True)]), r"size is not int"),
        (manifest(layers=[row(size=1.5)]), r"size is not int"),
        (manifest(layers=[row(size=-1)]), r"size is negative"),
        (manifest(layers=[row(digest="sha256:x")]), r"\$\.layers\[0\]\.digest: not a sha256 digest"),
        (manifest(layers=[row(mediaType=None)]), r"mediaType is missing"),
        (manifest(layers=["x"]), r"\$\.layers\[0\] is not an object"),
        (manifest(config=row(annotations={"a": 1})), r"\$\.config\.annotations"),
        (manifest(config=row(platform={"os": 1})), r"\$\.config\.platform\.os is not str"),
        (manifest(annotations=[]), r"\$\.annotations is not dict"),
        (manifest(mediaType="text/html"), r"neither an image manifest nor an index"),
        (manifest(mediaType=7), r"\$\.mediaType is not str"),
        (manifest(schemaVersion=1), r"schemaVersion is 1"),
        (index(manifests=...), r"\$\.manifests is missing"),
        (b'{"schemaVersion":2}', r"neither"),
        # CVE-2021-41190: an image to one reader and an index to another.
        (manifest(manifests=[]), r"both an image manifest and an index"),
        (index(layers=[], mediaType=...), r"both"),
        (index(config=row()), r"both"),
    ],
)
def test_what_is_no_manifest(data: bytes, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b"{} {}",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"layers":1,"Layers":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 100_000 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_two_readers_could_read_differently(data: bytes) -> None:
    with pytest.raises(CodecError, match="manifest"):
        decode_object(data, "manifest")


def test_escapes_that_are_whole_are_fine() -> None:
    assert decode_object(b'{"a":"\\ud83d\\ude00","Label":{"x":1,"X":2}}', "x") == {"a": "😀", "Label": {"x": 1, "X": 2}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"rootfs": {"diff_ids": ["x"]}}, r"diff_ids"),
        ({"rootfs": {"diff_ids": [1]}}, r"diff_ids is not a list of strings"),
        ({"rootfs": []}, r"\$\.rootfs is not dict"),
        ({"config": {"Env": "A=1"}}, r"\$\.config\.Env is not list"),
        ({"config": {"Env": [1]}}, r"\$\.config\.Env is not a list of strings"),
        ({"config": {"Labels": {"a": 1}}}, r"\$\.config\.Labels"),
        ({"config": {"User": 1}}, r"\$\.config\.User is not str"),
        ({"config": {"Healthcheck": {"Interval": "1s"}}}, r"Healthcheck\.Interval"),
        ({"architecture": ["amd64"]}, r"\$\.architecture is not str"),
        ({"created": 0}, r"\$\.created is not str"),
    ],
)
def test_what_is_no_config(value: Any, says: str) -> None:
    with pytest.raises(CodecError, match=says):
        decode_config(json.dumps(value).encode())


def test_null_means_nothing() -> None:
    """Docker writes null for empty lists and maps."""
    names = ("Env", "Cmd", "Entrypoint", "Volumes", "Labels", "ExposedPorts", "Healthcheck", "Shell", "User")
    value = {"os": "linux", "architecture": "amd64", "variant": None, "config": dict.fromkeys(names), "history": None}
    assert decode_config(json.dumps(value).encode()) == ImageConfig(platform=Platform("linux", "amd64"))
    assert decode_config(b'{"config":null,"os":"linux","architecture":"amd64","rootfs":null}').platform.os == "linux"


def test_the_last_value_of_a_variable_counts() -> None:
    assert [CONFIG.variable(name) for name in ("A", "B", "C")] == ["3", "2", None]


def test_media_types() -> None:
    assert mediatype.as_oci(mediatype.DOCKER_LAYER_GZIP) == mediatype.OCI_LAYER_GZIP
    assert mediatype.as_oci(mediatype.OCI_LAYER_ZSTD) == mediatype.OCI_LAYER_ZSTD
    assert set(mediatype.AS_OCI.values()) & set(mediatype.AS_OCI) == set()
