"""Images made the other way: files laid over a base as a Dockerfile's COPY would, and a config that is changed.

``derive(suite, files, entrypoint=…)`` gives an OCI layout on a composed base; ``run`` runs such an image in Docker.
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from factories.image import File, Files, make_tar
from machinery import Ran, in_process

from dpbuild.oci import mediatype

Derive = Callable[..., str]


def rules(findings: list[dict[str, str]], *severities: str) -> list[str]:
    """The rules that found something, each once, sorted; notes do not count unless they are asked for."""
    return sorted({row["rule"] for row in findings if row["severity"] in (severities or ("error", "warning"))})


@pytest.fixture(scope="session")
def base_layout(
    need: Callable[..., None], dpbuild: Callable[..., Ran], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """``base_layout("debian13")``: the composed base alone, as an OCI layout."""
    need("network")
    made: dict[str, Path] = {}

    def get(suite: str) -> Path:
        if suite not in made:
            project = tmp_path_factory.mktemp("nothing")
            (project / "dpbuild.toml").write_text(f'base = "compose:{suite}:nonroot"\napp = "none"\nbytecode = false\n')
            made[suite] = tmp_path_factory.mktemp("base") / "image"
            dpbuild("build", project, "-o", made[suite], "--platform", "linux/amd64")
        return made[suite]

    return get


def _link_blobs(source: str, target: str) -> None:
    if "/blobs/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


@pytest.fixture
def derive(base_layout: Callable[[str], Path], tmp_path: Path) -> Derive:
    """A new image: each of ``layers`` on top of the base's, ``config`` laid over the config's own."""
    count = 0

    def make(suite: str, *layers: Files, **config: Any) -> str:
        nonlocal count
        count += 1
        # Blobs are never written again; linking them saves copying the base each time.
        folder = Path(shutil.copytree(base_layout(suite), tmp_path / f"derived-{count}", copy_function=_link_blobs))

        def put(data: bytes, media_type: str) -> dict[str, Any]:
            digest = hashlib.sha256(data).hexdigest()
            (folder / "blobs/sha256" / digest).write_bytes(data)
            return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

        def read(descriptor: dict[str, Any]) -> dict[str, Any]:
            value = json.loads((folder / "blobs/sha256" / descriptor["digest"].partition(":")[2]).read_bytes())
            assert isinstance(value, dict)
            return value

        index = json.loads((folder / "index.json").read_bytes())
        manifest = read(index["manifests"][0])
        own = read(manifest["config"])
        for files in layers:
            tar = make_tar(files)
            own["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
            own.setdefault("history", []).append({"created_by": "COPY"})
            manifest["layers"].append(put(gzip.compress(tar, 1, mtime=0), mediatype.OCI_LAYER_GZIP))
        for name, value in config.items():
            own["config"][name] = value
        manifest["config"] = put(json.dumps(own).encode(), manifest["config"]["mediaType"])
        index["manifests"] = [put(json.dumps(manifest).encode(), index["manifests"][0]["mediaType"])]
        (folder / "index.json").write_text(json.dumps(index))
        return f"oci:{folder}"

    return make


@pytest.fixture(scope="session")
def install(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Files]:
    """``install("usr/lib/x", "six")``: what pip --target puts into a folder, for Python 3.13 or another."""
    need("network")
    kept: dict[tuple[str, ...], Path] = {}

    def get(folder: str, *requirements: str, python: str = "3.13", deps: bool = False) -> Files:
        import uv

        key = (python, *requirements)
        if key not in kept:
            kept[key] = tmp_path_factory.mktemp("target")
            command = [uv.find_uv_bin(), "pip", "install", "-q", "--target", str(kept[key]), "--only-binary", ":all:"]
            command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
            command += ["--python", sys.executable, *([] if deps else ["--no-deps"]), *requirements]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        top = kept[key]
        rows = (row for row in sorted(top.rglob("*")) if row.is_file() and row.name != ".lock")
        return {f"{folder}/{row.relative_to(top)}": File(row.read_bytes(), row.stat().st_mode & 0o777) for row in rows}

    return get


@pytest.fixture
def findings(shared_cache: Path) -> Callable[..., list[dict[str, str]]]:
    """What ``dpbuild check --json`` says of an image."""

    def get(reference: str, *arguments: str) -> list[dict[str, str]]:
        words = ("check", reference, "--json", "--platform", "linux/amd64", *arguments)
        done = in_process(words, {"DPBUILD_CACHE_DIR": str(shared_cache)})
        rows = json.loads(done.out)
        assert isinstance(rows, list), done.err
        assert done.status == (70 if any(row["severity"] == "error" for row in rows) else 0), done.err
        return rows

    return get


@pytest.fixture(scope="session")
def run_in_docker(
    need: Callable[..., None], registry: str
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a derived image in Docker. It gets there through a registry, so that layers move once for all tests."""
    need("docker", "skopeo")
    names: set[str] = set()

    def run(
        reference: str, *arguments: str, options: Sequence[str] = (), timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        name = f"{registry}/derived:{hashlib.sha256(reference.encode()).hexdigest()[:16]}"
        if name not in names:
            copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
            subprocess.run([*copy, reference, f"docker://{name}"], check=True, stdin=subprocess.DEVNULL)
            names.add(name)
        return subprocess.run(
            ["/usr/bin/docker", "run", "--rm", "--network=none", *options, name, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=timeout,
        )

    yield run
    if names:
        subprocess.run(["/usr/bin/docker", "rmi", "-f", *names], check=False, capture_output=True)
