"""Versions sort as dpkg sorts them."""

import itertools
import shutil
import subprocess

import pytest

from dpbuild.debian.version import compare, key, upstream, without_epoch

# Oldest first; what stands in one row is equal.
ORDER = [
    ["1.0~~"],
    ["1.0~~a"],
    ["1.0~"],
    ["1.0~rc1-1"],
    ["1.0", "1.0-0", "0:1.0", "01.0", "1.00"],
    ["1.0-0+deb13u1"],
    ["1.0-1~bpo12+1"],
    ["1.0-1"],
    ["1.0-1+b1"],
    ["1.0-1.1"],
    ["1.0-2"],
    ["1.0-10"],
    ["1.0a"],
    ["1.0+dfsg-1"],
    ["1.0.1"],
    ["1.9"],
    ["1.10"],
    ["2.36-9+deb12u9"],
    ["2.36-9+deb12u14"],
    ["1:0.1"],
    ["10:0"],
]


def test_order():
    flat = [(rank, text) for rank, row in enumerate(ORDER) for text in row]
    for (left, one), (right, two) in itertools.product(flat, flat):
        assert compare(one, two) == (left > right) - (left < right), (one, two)
    assert sorted((text for _, text in reversed(flat)), key=key)[0] == "1.0~~"


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")
def test_dpkg_says_the_same():
    flat = [(rank, row[0]) for rank, row in enumerate(ORDER)]
    for (_, one), (_, two) in itertools.pairwise(flat):
        assert subprocess.run(["dpkg", "--compare-versions", one, "lt", two], check=False).returncode == 0
    for row in ORDER:
        for one, two in itertools.pairwise(row):
            assert subprocess.run(["dpkg", "--compare-versions", one, "eq", two], check=False).returncode == 0


def test_parts():
    assert upstream("3.13.5-2+deb13u1") == "3.13.5"
    assert upstream("2:1.2-rc-3") == "1.2-rc"
    assert upstream("2026c") == "2026c"
    assert without_epoch("1:1.3.dfsg-1") == "1.3.dfsg-1"
