"""Builds before and after the store was pruned or cleaned."""

import subprocess
import sys

import pytest
from bench import Bench

from dpbuild.adapters.store import DiskStore


@pytest.mark.network
def test_what_was_removed_is_made_again_with_the_same_digest(bench: Bench) -> None:
    first = bench.build(check=True).out
    for arguments in (("--only", "layers"), ("--only", "wheels"), ("--only", "facts,builders")):
        bench.run("cache", "clean", "--no-wait", *arguments, check=True)
        again = bench.build(check=True)
        assert again.out == first
    bench.run("cache", "prune", "--no-wait", "--older-than", "0s", "--only", "layers,wheels,facts", check=True)
    assert bench.build(check=True).out == first


@pytest.mark.network
def test_a_build_waits_until_the_store_is_free_and_is_none_the_worse(bench: Bench) -> None:
    bench.lock()
    held = DiskStore(bench.cache)
    cleaner = subprocess.Popen(
        [sys.executable, "-m", "dpbuild", "cache", "clean", "--only", "wheels,layers,facts,builders"],
        env={**bench.environment, "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert cleaner.stderr is not None
    assert cleaner.stderr.readline() == "note: waiting for other runs of dpbuild that use the store\n"
    # Somebody waits for the store, and builds go on all the same.
    assert bench.build(check=True).status == 0
    held.close()
    out, err = cleaner.communicate(timeout=60)
    assert cleaner.returncode == 0, err
    assert out.startswith("removed: ")
    assert bench.build(check=True).status == 0
