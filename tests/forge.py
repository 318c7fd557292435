"""A bench whose store has a builder, for tests that build from source; and what was built."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench
from factories.sdist import make_sdist, native_files
from machinery import Ran

BUILD_LOCK = "pylock.dpbuild-build.toml"


@pytest.fixture
def forge(bench: Bench, shared_cache: Path, need: Callable[..., None]) -> Bench:
    """A bench whose builder is made, and its packages chosen, once for all tests."""
    need("bubblewrap")
    primed = shared_cache.with_name("dpbuild-base-store")
    for name in ("builder", "deb", "rootfs"):
        (primed / "trees" / name).mkdir(parents=True, exist_ok=True)
        (bench.cache / "trees").mkdir(exist_ok=True, mode=0o700)
        (bench.cache / "trees" / name).symlink_to(primed / "trees" / name)
    lock = primed / BUILD_LOCK
    if not lock.exists():
        bench.index.add(make_sdist("first", "1.0", native_files("first")))
        bench.configure(dependencies=("first",))
        assert bench.build().status == 0
        shutil.copy(bench.project / BUILD_LOCK, lock)
        shutil.rmtree(bench.output)
        shutil.rmtree(bench.cache / "maps/app")
        (bench.project / "pylock.dpbuild.toml").unlink()
    shutil.copy(lock, bench.project / BUILD_LOCK)
    return bench


@pytest.fixture
def sdist(forge: Bench) -> Callable[..., None]:
    """``sdist("fast", before="…")``: the only dependency of the project is this sdist."""

    def offer(name: str, *lines: str, **more: object) -> None:
        forge.index.add(make_sdist(name, "1.0", native_files(name, **more)))  # type: ignore[arg-type]
        forge.configure(*lines, dependencies=(name,))

    return offer


def wheels(bench: Bench) -> Iterator[tuple[str, bytes]]:
    """The wheels that were built, by file name."""
    for path in sorted((bench.cache / "maps/app").glob("*")):
        row = json.loads(path.read_bytes()[32:])
        if len(row) >= 5 and isinstance(row[4], int):
            yield row[2], (bench.cache / "blobs/sha256" / row[3]).read_bytes()


def runs(bench: Bench, dpbuild: Callable[..., Ran]) -> str:
    """What the image says."""
    done = dpbuild("run", "--builder", "bubblewrap", f"oci:{bench.output}", env=bench.environment)
    return str(done.out)
