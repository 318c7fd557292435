"""SBOMs of real images: valid, complete both ways, and the same bytes by whatever way the image is read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.network]


def attached(layout: Path, subject: str) -> bytes:
    for row in json.loads((layout / "index.json").read_text())["manifests"]:
        if row.get("artifactType") == "application/vnd.cyclonedx+json":
            manifest = json.loads(blob(layout, row["digest"]))
            if manifest["subject"]["digest"] == subject:
                return blob(layout, manifest["layers"][0]["digest"])
    pytest.fail(f"there is no SBOM of {subject}")


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def validate(data: bytes) -> None:
    """Against CycloneDX' published schema, formats included; and what the schema cannot say about references."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode())
    assert problem is None, str(problem)[:2000]
    value = json.loads(data)
    refs = [row["bom-ref"] for row in every(value["components"]) if "bom-ref" in row]
    refs.append(value["metadata"]["component"]["bom-ref"])
    assert len(refs) == len(set(refs))
    named = [row["ref"] for row in value["dependencies"]]
    assert len(named) == len(set(named))
    assert {ref for row in value["dependencies"] for ref in [row["ref"], *row.get("dependsOn", [])]} <= set(refs)


def every(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        yield from every(row.get("components", []))


def unpacked(layout: Path, digest: str) -> Path:
    from dpbuild.oci.codec import decode
    from dpbuild.oci.manifest import Manifest
    from dpbuild.wiring import Settings, World

    manifest = decode(blob(layout, digest))
    assert isinstance(manifest, Manifest)
    world = World(Settings(cache_dir=layout.parent / "unpacked", progress="none"))
    return Path(world.unpacked(manifest.layers, lambda row: (layout / "blobs/sha256" / row.digest.hex).open("rb")))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("data", "document", "native", "postgres")]


@pytest.mark.parametrize("name", ["hello", "web", *SLOW])
def test_it_lists_what_is_in_the_image_and_nothing_else(
    name: str, dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path
) -> None:
    layout = tmp_path / "image"
    line = dpbuild("build", example(name), "-o", layout, "--sbom", tmp_path / "sbom.json").out.strip()
    digest = line.rpartition("@")[2]
    data = attached(layout, digest)
    validate(data)
    assert (tmp_path / "sbom.json").read_bytes() == data
    value = json.loads(data)
    assert value["metadata"]["component"]["version"] == digest
    rows = [row for row in value["components"] if row["type"] == "library"]
    root = unpacked(layout, digest)
    # What Python and Debian themselves say is installed.
    site = root / "usr/local/lib/python3.13/dist-packages"
    installed = {row.name: row for row in metadata.distributions(path=[str(site)])}
    listed = {row["name"]: row for row in rows if row["purl"].startswith("pkg:pypi/")}
    assert {key: row["version"] for key, row in listed.items()} == {key: row.version for key, row in installed.items()}
    stanzas = [path.read_text() for path in (root / "var/lib/dpkg/status.d").iterdir() if path.suffix != ".md5sums"]
    fields = [dict(line.split(": ", 1) for line in text.splitlines() if ": " in line) for text in stanzas]
    debian = {(row["name"], row["version"]) for row in rows if row["purl"].startswith("pkg:deb/debian/")}
    assert debian == {(row["Package"], row["Version"]) for row in fields}
    assert len(debian) + len(listed) == len(rows)
    for key, row in installed.items():
        files = {each["name"]: each["hashes"] for each in listed[key]["components"] if each["type"] == "file"}
        paths = {f"/{path.resolve().relative_to(root.resolve())}" for each in row.files or () if (path := Path(str(row.locate_file(each)))).is_file()}  # fmt: skip
        assert files.keys() == paths
        for path, hashes in files.items():
            found = hashlib.sha256((root / path.lstrip("/")).read_bytes()).hexdigest()
            assert hashes == [{"alg": "SHA-256", "content": found}], path
    for row in rows:
        if row["purl"].startswith("pkg:pypi/") and row["name"] != name:
            assert row["licenses"], row["name"]
    if name == "web":
        _web(value)


def _web(value: dict[str, Any]) -> None:
    """The dependency graph, and the SBOM that a wheel brings."""
    needs = {row["ref"]: set(row.get("dependsOn", [])) for row in value["dependencies"]}
    names = {row["bom-ref"]: row["name"] for row in every(value["components"]) if "bom-ref" in row}
    refs = {row["name"]: row["bom-ref"] for row in value["components"]}

    def of(name: str) -> set[str]:
        return {names[ref] for ref in needs[refs[name]]}

    assert of("web") == {"fastapi", "uvicorn"}
    assert of("uvicorn") == {"click", "h11"}
    assert {"starlette", "pydantic"} <= of("fastapi")
    assert of("libzstd1") == {"libc6"}
    assert {names[ref] for ref in needs["image"] if ref.startswith("pkg:pypi/")} == {"web"}
    core = next(row for row in value["components"] if row["name"] == "pydantic_core")
    inside = [row for row in every(core["components"]) if row["type"] != "file"]
    assert {"pyo3", "serde"} <= {row["name"] for row in inside}
    assert all(row["purl"].startswith("pkg:cargo/") for row in inside if row["name"] in ("pyo3", "serde"))
    assert needs[core["bom-ref"]] & {row["bom-ref"] for row in inside}


@pytest.mark.slow
def test_an_index_and_every_way_to_the_same_bytes(
    dpbuild: Callable, registry: str, example: Callable[[str], Path], tmp_path: Path
) -> None:
    project = example("web")
    layout = tmp_path / "both"
    tag = f"{registry}/sbom/web:1"
    both = ("--platform", "linux/amd64,linux/arm64")
    line = dpbuild("build", project, *both, "-o", layout, "-t", tag, "--push", "--sbom", tmp_path / "all.json").out
    digest = line.strip().rpartition("@")[2]
    whole = attached(layout, digest)
    validate(whole)
    assert (tmp_path / "all.json").read_bytes() == whole
    index = json.loads(blob(layout, digest))
    assert [row["version"] for row in json.loads(whole)["components"]] == [row["digest"] for row in index["manifests"]]
    for row in index["manifests"]:
        data = attached(layout, row["digest"])
        validate(data)
        platform = f"linux/{row['platform']['architecture']}"
        nested = next(each for each in json.loads(whole)["components"] if each["version"] == row["digest"])
        assert len(nested["components"]) == len(json.loads(data)["components"])
        # A fresh store reads it from the layers, out of the layout and out of the registry.
        for number, ref in enumerate((f"oci:{layout}:1", tag)):
            env = {"DPBUILD_CACHE_DIR": str(tmp_path / f"store{number}")}
            assert dpbuild("sbom", ref, "--platform", platform, env=env).out.encode() == data + b"\n"


def test_an_image_that_dpbuild_did_not_make(dpbuild: Callable, tmp_path: Path) -> None:
    """No Python in it, a package database of another kind, and a distribution without RECORD."""
    from factories.image import make_image

    image = make_image(
        tmp_path / "other",
        {
            "etc/os-release": "ID=alpine\nVERSION_ID=3.22\n",
            "lib/apk/db/installed": "P:musl\nV:1.2.5-r0\nA:x86_64\n\nP:zlib\nV:1.3.1-r2\nA:x86_64\no:zlib-src\n",
            "opt/py/old.egg-info/PKG-INFO": "Metadata-Version: 1.1\nName: old\nVersion: 3\nLicense: UNKNOWN\n",
            "opt/py/new-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: new\nVersion: 1\n"
            "License: A licence of our own\nRequires-Dist: old>=2\nRequires-Dist: none\n",
            "opt/py/new-1.dist-info/RECORD": "new.py,,\ngone.py,,\n",
            "opt/py/new.py": "x = 1\n",
        },
    )
    data = dpbuild("sbom", f"oci:{image.path}").out.encode()
    validate(data)
    rows = {row["name"]: row for row in json.loads(data)["components"]}
    assert {name: row.get("purl") for name, row in rows.items()} == {
        "alpine": None,
        "musl": "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.22",
        "zlib": "pkg:apk/alpine/zlib@1.3.1-r2?arch=x86_64&distro=alpine-3.22",
        "old": "pkg:pypi/old@3",
        "new": "pkg:pypi/new@1",
    }
    assert rows["new"]["licenses"] == [{"license": {"acknowledgement": "declared", "name": "A licence of our own"}}]
    assert "licenses" not in rows["old"]
    assert [row["name"] for row in rows["new"]["components"]] == ["/opt/py/new.py"]
    needs = {row["ref"]: row.get("dependsOn", []) for row in json.loads(data)["dependencies"]}
    assert needs["pkg:pypi/new@1"] == ["pkg:pypi/old@3"]
