"""Signatures with the real cosign on a real registry: each takes what the other made, and neither what was changed."""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from dpbuild.adapters import cosign_key

pytestmark = [pytest.mark.network, pytest.mark.registry]

PASSWORD = "s3cret"


@pytest.fixture(scope="session")
def cosign(need: Callable[..., None], shared_cache: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Debian's cosign, out of trixie's package."""
    need("network")
    program = shared_cache.with_name("cosign")
    if not program.exists():
        from dpbuild.debian import deb
        from dpbuild.wiring import Settings, World

        archive = World(Settings(cache_dir=shared_cache, progress="none")).debian(None)
        package = archive.select("trixie", "amd64", frozenset({"cosign"}))["cosign"]
        files = {entry.path: data for entry, data in deb.contents(archive.package(package))}
        fresh = program.with_name(f"cosign.{os.getpid()}")
        fresh.write_bytes(files["usr/bin/cosign"])
        fresh.chmod(0o755)
        fresh.replace(program)

    def run(*words: object, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(program), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(program.parent), "COSIGN_PASSWORD": PASSWORD},
            cwd=cwd or program.parent,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


class Keys:
    """A key in every form: as cosign makes it, and as openssl would write it."""

    def __init__(self, folder: Path, cosign: Callable[..., object]) -> None:
        folder.mkdir()
        cosign("generate-key-pair", cwd=folder)
        self.cosign, self.public = folder / "cosign.key", folder / "cosign.pub"
        key = load_der_private_key(cosign_key.decrypt(self.cosign.read_bytes(), PASSWORD.encode()), None)
        self.plain, self.locked = folder / "plain.key", folder / "locked.key"
        form = (Encoding.PEM, PrivateFormat.PKCS8)
        self.plain.write_bytes(key.private_bytes(*form, NoEncryption()))
        self.locked.write_bytes(key.private_bytes(*form, BestAvailableEncryption(PASSWORD.encode())))


@pytest.fixture
def keys(tmp_path: Path, cosign: Callable[..., object]) -> Keys:
    return Keys(tmp_path / "keys", cosign)


VERIFY = ("--insecure-ignore-tlog", "--allow-insecure-registry")


def get(registry: str, path: str, kind: str = "application/vnd.oci.image.manifest.v1+json") -> bytes:
    import urllib.request

    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={"Accept": kind})
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def put(registry: str, path: str, data: bytes, kind: str = "application/vnd.oci.image.manifest.v1+json") -> None:
    import urllib.request

    request = urllib.request.Request(
        f"http://{registry}/v2/{path}", data=data, method="PUT", headers={"Content-Type": kind}
    )
    urllib.request.urlopen(request).close()


def push_blob(registry: str, repository: str, data: bytes) -> dict[str, Any]:
    import urllib.request

    request = urllib.request.Request(f"http://{registry}/v2/{repository}/blobs/uploads/", method="POST", data=b"")
    with urllib.request.urlopen(request) as answer:
        location = answer.headers["Location"]
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    separator = "&" if "?" in location else "?"
    put(registry, location.partition("/v2/")[2] + f"{separator}digest={digest}", data, "application/octet-stream")
    return {"digest": digest, "size": len(data)}


def test_cosign_accepts_what_dpbuild_signs(
    dpbuild: Callable, cosign: Callable, registry: str, example: Callable[[str], Path], keys: Keys, tmp_path: Path
) -> None:
    """An index and its images, in two repositories, with a key in three forms: always the same bytes."""
    project, tags = example("hello"), [f"{registry}/signed/one:1", f"{registry}/signed/two:1"]
    both = ("--platform", "linux/amd64,linux/arm64", "-t", tags[0], "-t", tags[1], "--push")
    env = {"DPBUILD_SIGN_PASSWORD": PASSWORD}
    lists = []
    for number, key in enumerate((keys.plain, keys.locked, keys.cosign)):
        metadata = tmp_path / f"{number}.json"
        line = dpbuild("build", project, *both, "--sign-key", key, "--metadata-file", metadata, env=env).out.strip()
        lists.append(json.loads(metadata.read_text())["referrers"])
    assert lists[0] == lists[1] == lists[2]
    digest = line.rpartition("@")[2]
    index = json.loads(get(registry, f"signed/one/manifests/{digest}", "application/vnd.oci.image.index.v1+json"))
    for tag in tags:
        repository = tag.rpartition(":")[0]
        for name in (tag, *(f"{repository}@{row['digest']}" for row in index["manifests"])):
            told = json.loads(cosign("verify", "--key", keys.public, *VERIFY, name).stdout)
            assert [row["critical"]["identity"]["docker-reference"] for row in told] == [repository]
            for kind in ("slsaprovenance1", "cyclonedx"):
                cosign("verify-attestation", "--key", keys.public, *VERIFY, "--type", kind, name)
        assert dpbuild("verify", tag, "--key", keys.public).out.strip() == f"{repository}@{digest}"
    told = json.loads(dpbuild("verify", tags[0], "--key", keys.public, "--json").out)
    assert [row["digest"] for row in told] == [digest, *(row["digest"] for row in index["manifests"])]
    assert {tuple(row["statements"]) for row in told} == {
        ("https://cyclonedx.org/bom", "https://slsa.dev/provenance/v1")
    }
    other = Keys(tmp_path / "other", cosign)
    assert cosign("verify", "--key", other.public, *VERIFY, tags[0], check=False).returncode != 0
    refused = dpbuild("verify", tags[0], "--key", other.public, check=False)
    assert (refused.status, refused.out) == (70, "")
    assert "signatures is this key's" in refused.err


def test_dpbuild_accepts_what_cosign_signs_and_both_stay(
    dpbuild: Callable, cosign: Callable, registry: str, example: Callable[[str], Path], keys: Keys, tmp_path: Path
) -> None:
    other = Keys(tmp_path / "other", cosign)
    project, tag = example("hello"), f"{registry}/signed/both:1"
    line = dpbuild("build", project, "-t", tag, "--push", "--no-evidence").out.strip()
    unsigned = dpbuild("verify", tag, "--key", other.public, check=False)
    assert unsigned.status == 70
    assert "error: the image is not signed" in unsigned.err
    cosign("sign", "--yes", "--tlog-upload=false", "--allow-insecure-registry", "--key", other.cosign, line)
    dpbuild("verify", tag, "--key", other.public)
    # Ours goes beside cosign's, with evidence now.
    dpbuild("build", project, "-t", tag, "--push", "--sign-key", keys.plain)
    for key in (keys, other):
        cosign("verify", "--key", key.public, *VERIFY, tag)
    dpbuild("verify", tag, "--key", keys.public)
    # The other key vouches for the image and not for what is attached to it.
    partly = dpbuild("verify", tag, "--key", other.public, check=False)
    assert partly.status == 70
    assert "is not signed by this key" in partly.err


def test_whatever_is_changed_is_refused(
    dpbuild: Callable, registry: str, example: Callable[[str], Path], keys: Keys, tmp_path: Path
) -> None:
    project, repository = example("hello"), "signed/tampered"
    tag = f"{registry}/{repository}:1"
    line = dpbuild("build", project, "-t", tag, "--push", "--sign-key", keys.plain).out.strip()
    digest = line.rpartition("@")[2]
    place = f"{repository}/manifests/sha256-{digest[7:]}"
    kind = "application/vnd.oci.image.index.v1+json"
    whole = json.loads(get(registry, place, kind))
    signatures = get(registry, f"{place}.sig")

    def refused(words: str) -> None:
        done = dpbuild("verify", tag, "--key", keys.public, check=False)
        assert (done.status, done.out) == (70, "")
        assert words in done.err

    def mended() -> None:
        put(registry, place, json.dumps(whole).encode(), kind)
        put(registry, f"{place}.sig", signatures)
        dpbuild("verify", tag, "--key", keys.public)

    mended()
    # One bit of the signature, wherever it stands.
    manifest = json.loads(signatures)
    annotations = manifest["layers"][0]["annotations"]
    raw = bytearray(base64.b64decode(annotations["dev.cosignproject.cosign/signature"]))
    raw[20] ^= 1
    annotations["dev.cosignproject.cosign/signature"] = base64.b64encode(raw).decode()
    rows = [row for row in whole["manifests"] if "cosign" not in row["artifactType"]]
    put(registry, f"{place}.sig", json.dumps(manifest).encode())
    put(registry, place, json.dumps({**whole, "manifests": rows}).encode(), kind)
    refused("none of its 1 signatures")
    mended()
    # An SBOM that hides a package, in the place of the honest one.
    row = next(row for row in whole["manifests"] if row["artifactType"] == "application/vnd.cyclonedx+json")
    attached = json.loads(get(registry, f"{repository}/manifests/{row['digest']}"))
    sbom = json.loads(get(registry, f"{repository}/blobs/{attached['layers'][0]['digest']}"))
    sbom["components"] = sbom["components"][1:]
    layer = {**attached["layers"][0], **push_blob(registry, repository, json.dumps(sbom).encode())}
    forged = json.dumps({**attached, "layers": [layer]}).encode()
    name = f"sha256:{hashlib.sha256(forged).hexdigest()}"
    put(registry, f"{repository}/manifests/{name}", forged)
    rows = [{**row, "digest": name, "size": len(forged)} if each is row else each for each in whole["manifests"]]
    put(registry, place, json.dumps({**whole, "manifests": rows}).encode(), kind)
    refused("an attached SBOM is not signed by this key")
    mended()
    # Another image under the same tag: it has no signature, whatever the old one had.
    (project / "hello/__main__.py").write_text("print('changed')\n")
    dpbuild("build", project, "-t", tag, "--push", "--no-evidence")
    refused("the image is not signed")


def test_an_image_that_was_pushed_unsigned_before(
    dpbuild: Callable, registry: str, example: Callable[[str], Path], keys: Keys
) -> None:
    """A branch pushes it, a release signs it: the same image, two provenances, of which one is signed."""
    project, tag = example("hello"), f"{registry}/signed/twice:1"
    config = project / "pyproject.toml"
    config.write_text(config.read_text() + 'exclude = ["pyproject.toml"]\n')
    first = dpbuild("build", project, "-t", tag, "--push").out
    assert dpbuild("verify", tag, "--key", keys.public, check=False).status == 70
    config.write_text(config.read_text().replace('"pyproject.toml"]', '"pyproject.toml", "notes"]'))
    assert dpbuild("build", project, "-t", tag, "--push", "--sign-key", keys.plain).out == first
    done = dpbuild("verify", tag, "--key", keys.public)
    assert done.out == first
    assert done.err.count("another provenance is attached, which this key did not sign: sha256:") == 1


def test_layouts_and_keys_that_do_not_open(
    dpbuild: Callable, example: Callable[[str], Path], keys: Keys, tmp_path: Path
) -> None:
    project, layout = example("hello"), tmp_path / "image"
    for env, words in (({}, "has a password"), ({"DPBUILD_SIGN_PASSWORD": "wr0ng"}, "another one")):
        wrong = dpbuild("build", project, "-o", layout, "--sign-key", keys.locked, env=env, check=False)
        assert (wrong.status, wrong.out) == (2, "")
        assert words in wrong.err
        assert "wr0ng" not in wrong.err
        assert not layout.exists()
    line = dpbuild("build", project, "-o", layout, "--sign-key", keys.plain).out.strip()
    assert dpbuild("verify", f"oci:{layout}", "--key", keys.public).out.strip() == line
    index = json.loads((layout / "index.json").read_text())
    row = next(row for row in index["manifests"] if "cosign" in row.get("artifactType", ""))
    manifest = json.loads((layout / "blobs/sha256" / row["digest"][7:]).read_text())
    payload = layout / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
    payload.write_bytes(payload.read_bytes().replace(b"image signature", b"image signaturE"))
    damaged = dpbuild("verify", f"oci:{layout}", "--key", keys.public, check=False)
    assert damaged.status == 20
    assert "is damaged" in damaged.err
    archive = tmp_path / "image.tar"
    said = dpbuild("build", project, "-o", archive, "--sign-key", keys.plain).err
    assert "note: SBOM, provenance and signatures are in none of these outputs" in said
    said = dpbuild("build", project, "-o", archive).err
    assert "note: SBOM and provenance are in none of these outputs" in said
    assert "in none of" not in dpbuild("build", project, "-o", archive, "-o", layout).err
    nothing = dpbuild("verify", f"oci-archive:{archive}", "--key", keys.public, check=False)
    assert nothing.status == 70
    assert "the image is not signed" in nothing.err


def test_a_base_that_must_be_signed(
    dpbuild: Callable, cosign: Callable, registry: str, example: Callable[[str], Path], keys: Keys, tmp_path: Path
) -> None:
    base = f"{registry}/signed/base:1"
    line = dpbuild("build", example("hello"), "-t", base, "--push").out.strip()
    project = tmp_path / "app"
    project.mkdir()
    (project / "main.py").write_text("print('on a base')\n")

    def configure(reference: str, key: Path) -> None:
        (project / "base.pub").write_bytes(key.read_bytes())
        (project / "pyproject.toml").write_text(
            f'[project]\nname = "app"\nversion = "1"\n[tool.dpbuild]\nbase = "{reference}"\n'
            'platforms = ["linux/amd64"]\napp = "none"\nentrypoint = ["-V"]\nverify.base-key = "base.pub"\n'
        )

    def build(store: str, *words: str) -> Any:
        env = {"DPBUILD_CACHE_DIR": str(tmp_path / store)}
        return dpbuild("build", project, "-o", tmp_path / "out", *words, env=env, check=False)

    configure(base, keys.public)
    refused = build("a")
    assert (refused.status, refused.out) == (20, "")
    assert "error: the base carries no signature of verify.base-key" in refused.err
    assert not (tmp_path / "out").exists()
    assert not (project / "pylock.dpbuild.toml").exists()
    cosign("sign", "--yes", "--tlog-upload=false", "--allow-insecure-registry", "--key", keys.cosign, line)
    done = build("a")
    assert done.status == 0, done.err
    # Another key, in a store that knows the base well.
    configure(base, Keys(tmp_path / "other", cosign).public)
    assert build("a").status == 20
    configure("compose:debian13:nonroot", keys.public)
    composed = build("a")
    assert composed.status == 10
    assert "composed base has no signature" in composed.err
