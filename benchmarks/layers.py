"""Layers from wheels: joined, against unpacking and compressing, and against the work that nobody can leave out.

    python benchmarks/layers.py FOLDER [RUNS]

FOLDER holds wheels (``pip download --only-binary :all: …``). Each way runs RUNS times in turn; medians and ratios are
printed as a Markdown table. The three ways:

* joined: verify the wheels and write layer blobs into a store, by as many processes as there are processors;
* limit: inflate every file and hash what has to be hashed (RECORD's hash, diffID, blob), two threads, nothing written;
* classic: unpack into a folder, tar it, gzip -6, one layer, as a Dockerfile's COPY does.
"""

import hashlib
import importlib.metadata
import io
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zlib_ng import zlib_ng

from dpbuild.adapters.helper import ProcessHelper
from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.facts import Facts, Libc
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.pypa.wheel import name_and_version
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.site import Site


def site() -> Site:
    here = Platform("linux", "amd64")
    row = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=Digest("0" * 64), size=1)
    facts = Facts(
        interpreter="/usr/bin/python3.13",
        interpreter_sha256="0" * 64,
        version="3.13.5",
        implementation="cpython",
        soabi="cpython-313-x86_64-linux-gnu",
        extension_suffixes=(),
        gil_disabled=False,
        debug=False,
        machine="x86_64",
        libc=Libc(kind="glibc", version=(2, 41), loader="/lib64/ld-linux-x86-64.so.2"),
        glibcxx="",
        stdlib="/usr/lib/python3.13",
        purelib="/usr/local/lib/python3.13/dist-packages",
        scripts="/usr/local/bin",
        data="/usr/local",
        headers="/usr/local/include/python3.13",
        site_directories=(),
        distributor="debian:13",
        packages=(),
    )
    return Site(
        Base(
            reference=parse("registry.example/base:1"),
            root=row,
            descriptor=row,
            platform=here,
            manifest=Manifest(media_type=row.media_type, config=row, layers=()),
            config=ImageConfig(platform=here),
            facts=facts,
            tree=FileTree.of([[Entry(path="usr", kind=Kind.DIRECTORY, mode=0o755)]]),
        )
    )


def joined(wheels: list[Path]) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        store = DiskStore(Path(folder) / "store")
        artifacts = []
        for path in wheels:
            with store.writer() as writer:
                writer.write(path.read_bytes())
                digest, size = writer.commit()
            name, version = name_and_version(path.name)
            artifacts.append(Artifact(name=name, version=version, filename=path.name, digest=digest, size=size))
        start = time.perf_counter()
        quiet = StreamReporter(io.StringIO(), time.monotonic, "none")
        layers = make_layers(
            artifacts,
            site(),
            store,
            quiet,
            taken=50,
            cores=os.cpu_count() or 1,
            helper=lambda: ProcessHelper(store),
        ).layers
        return time.perf_counter() - start, sum(layer.descriptor.size for layer in layers)


def limit(wheels: list[Path]) -> tuple[float, int]:
    def one(path: Path) -> int:
        data = path.read_bytes()
        blob, diff = hashlib.sha256(data), hashlib.sha256()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                start = info.header_offset + 30 + len(info.filename.encode()) + len(info.extra)
                raw = data[start : start + info.compress_size]
                engine = zlib_ng.decompressobj(-15)
                record, crc = hashlib.sha256(), 0
                while raw:
                    plain = engine.decompress(raw, 1 << 18) if info.compress_type else raw
                    raw = engine.unconsumed_tail if info.compress_type else b""
                    record.update(plain)
                    diff.update(plain)
                    crc = zlib_ng.crc32(plain, crc)
        return len(blob.digest()) + len(diff.digest())

    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, sorted(wheels, key=lambda path: -path.stat().st_size)))
    return time.perf_counter() - start, 0


def classic(wheels: list[Path]) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for path in wheels:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        out = Path(folder + ".tar.gz")
        try:
            with out.open("wb") as file:
                engine = zlib.compressobj(6, zlib.DEFLATED, 31)

                class Squeeze(io.RawIOBase):
                    def writable(self) -> bool:
                        return True

                    def write(self, data: object) -> int:
                        file.write(engine.compress(data))  # type: ignore[arg-type]
                        return len(data)  # type: ignore[arg-type]

                with tarfile.open(fileobj=Squeeze(), mode="w|") as tar:
                    tar.add(folder, arcname="app")
                file.write(engine.flush())
            return time.perf_counter() - start, out.stat().st_size
        finally:
            out.unlink()


def main() -> None:
    wheels = sorted(Path(sys.argv[1]).glob("*.whl"))
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    ways = {"joined": joined, "limit": limit, "classic": classic}
    times: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {}
    for _ in range(runs):
        for name, way in ways.items():
            seconds, sizes[name] = way(wheels)
            times[name].append(seconds)
    unpacked = sum(info.file_size for path in wheels for info in zipfile.ZipFile(path).infolist())
    packed = sum(path.stat().st_size for path in wheels)
    print(f"{len(wheels)} wheels, {packed / 1e6:.0f} MB, {unpacked / 1e6:.0f} MB unpacked;")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("dpbuild", "zlib-ng"))
    print(f"Python {platform.python_version()}, {versions}; median of {runs} runs in turn\n")
    print("| way | seconds (min-max) | ratio to joined, pair by pair | layers, MB |\n|---|---|---|---|")
    for name, row in times.items():
        ratio = statistics.median(one / two for one, two in zip(row, times["joined"], strict=True))
        size = f"{sizes[name] / 1e6:.1f}" if sizes[name] else ""
        print(f"| {name} | {statistics.median(row):.2f} ({min(row):.2f}-{max(row):.2f}) | {ratio:.2f} | {size} |")


if __name__ == "__main__":
    main()
