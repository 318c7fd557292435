"""``compression = "zstd"``: the same content, kept and repeated like any other layer, and what it does not go with."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

from dpbuild.archive.decompress import Decompressed

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def image(layout: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Layers and diffIDs."""
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    manifest = json.loads(blob(layout, digest))
    return manifest["layers"], json.loads(blob(layout, manifest["config"]["digest"]))["rootfs"]["diff_ids"]


@pytest.mark.network
def test_the_same_content_in_another_dress(bench: Bench) -> None:
    bench.run("build", bench.project, "-o", bench.tmp / "gzip", check=True)
    plain, plain_ids = image(bench.tmp / "gzip")
    bench.configure('compression = "zstd"')
    first = bench.build(check=True)
    layers, diff_ids = image(bench.output)
    # The app's layer has the configuration in it.
    assert diff_ids[:-1] == plain_ids[:-1]
    assert [row["mediaType"] for row in layers] == [GZIP] * 48 + [ZSTD] * (len(layers) - 48)
    assert layers[:48] == plain[:48]
    assert len(layers) == 50
    for layer, diff_id in zip(layers[48:], diff_ids[48:], strict=True):
        data = blob(bench.output, layer["digest"])
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (layer["digest"][7:], layer["size"])
        content = Decompressed(io.BytesIO(data), limit=1 << 30)
        content.read()
        assert f"sha256:{content.digest()}" == diff_id
    # Found again, and made again the same.
    again = bench.build(check=True)
    assert again.out == first.out
    assert "2 layers, 2 of them kept" in again.err
    bench.run("cache", "clean", "--only", "layers", check=True)
    assert bench.build(check=True).out == first.out


@pytest.mark.parametrize("words", [["--load"], ["-o", "image.tar"], ["-o", "out", "-o", "image.tar"]])
def test_what_it_does_not_go_with(bare: Bench, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bare.tmp)
    bare.configure('compression = "zstd"')
    done = bare.run("build", bare.project, *words)
    assert done.status == 10, done.err
    assert 'compression = "zstd" does not go with' in done.err
    assert sorted(path.name for path in bare.project.iterdir()) == ["main.py", "pyproject.toml"]
    assert not (bare.tmp / "out").exists()


def test_another_libzstd_is_refused_before_anything_is_done(bare: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpbuild.archive.zstd.VERSION", "1.4.0")
    bare.configure('compression = "zstd"')
    bare.fails(10, r"its bytes are those of zstd 1\.4\.0, and this Python has", hint="Python 3.11 to 3.13")
