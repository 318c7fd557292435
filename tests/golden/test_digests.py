"""Digests that must not change: a set of small images on a base that is kept here, wheels included.

``docs/reproducing.md`` says when such a digest may change. ``digests.json`` is what they are;
``DPBUILD_GOLDEN=write`` writes it anew.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

HERE = Path(__file__).parent
PINNED = HERE / "digests.json"
MAIN = {"main.py": "import golden\nprint(golden.x)\n", "package/__init__.py": "", "package/data.txt": "data\n" * 300}
PROJECTS: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "copied app": (["platforms = ['linux/amd64']"], MAIN, []),
    "two platforms": (["platforms = ['linux/amd64', 'linux/arm64']"], MAIN, []),
    "epoch": (["platforms = ['linux/amd64']"], MAIN, ["--epoch", "1700000000"]),
    "zstd": (["platforms = ['linux/amd64']", 'compression = "zstd"'], MAIN, []),
    "no app": (["platforms = ['linux/amd64']", 'app = "none"', 'entrypoint = ["-c", "import golden"]'], {}, []),
    "config": (
        [
            "platforms = ['linux/amd64']",
            'cmd = ["a", "b"]',
            'user = "1000:1000"',
            'workdir = "/srv"',
            "expose = [8000]",
            'volumes = ["/data"]',
            'stop-signal = "SIGINT"',
            'healthcheck = ["/usr/bin/python3.13", "-c", "pass"]',
            'files = [{from = "conf/", to = "/etc/acme/"}]',
            'ca-certificates = ["ca.pem"]',
            'env = {A = "1"}',
            'labels = {l = "1"}',
            'annotations = {"org.example" = "1"}',
        ],
        MAIN | {"conf/a.toml": "a = 1\n", "ca.pem": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"},
        [],
    ),
}


def built(bare: Bench, name: str, tmp: Path) -> dict[str, object]:
    """The digests of one image: the root's, each platform's, and those of the layers above the base."""
    archive = tmp / "base.tar"
    archive.write_bytes(gzip.decompress((HERE / "base.tar.gz").read_bytes()))
    for wheel in sorted(HERE.glob("*.whl")):
        bare.index.add((wheel.name, wheel.read_bytes()))
    rows, files, arguments = PROJECTS[name]
    bare.configure(f'base = "oci-archive:{archive}"', "evidence = false", *rows, dependencies=("golden", "other"))
    (bare.project / "main.py").unlink()
    for path, text in files.items():
        (bare.project / path).parent.mkdir(exist_ok=True)
        (bare.project / path).write_text(text)
    # The project's own file holds the address of this run's base, which is nothing that an app should carry.
    with (bare.project / ".gitignore").open("w") as ignore:
        ignore.write("pyproject.toml\n")
    bare.build(*arguments, check=True)

    def read(digest: str) -> Any:
        return json.loads((bare.output / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes())

    root = json.loads((bare.output / "index.json").read_bytes())["manifests"][0]["digest"]
    value = read(root)
    manifests = [row["digest"] for row in value.get("manifests", [])] or [root]
    # Those of the base are not compressed.
    found = (read(digest)["layers"] for digest in manifests)
    layers = [[row["digest"] for row in each if not row["mediaType"].endswith(".tar")] for each in found]
    return {"root": root, "manifests": manifests, "layers": layers}


@pytest.mark.parametrize("name", PROJECTS)
def test_digests(bare: Bench, tmp_path: Path, name: str) -> None:
    found = built(bare, name, tmp_path)
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    if os.environ.get("DPBUILD_GOLDEN") == "write":
        PINNED.write_text(json.dumps({**pinned, name: found}, indent=1, sort_keys=True) + "\n")
        return
    assert found == pinned[name]
