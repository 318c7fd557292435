"""Closures over Debian's own indices: every relation holds, and nothing is in them that nobody asked for."""

from collections.abc import Callable
from typing import Any

import pytest

from dpbuild.debian import dependency
from dpbuild.debian.closure import HELPERS, close
from dpbuild.debian.package_index import PackageIndex, provided
from dpbuild.debian.suites import SUITES

pytestmark = pytest.mark.network
WANTED = {
    "debian13": ("gcc", "g++", "libc6-dev", "python3.13-dev", "libpq5", "libpango-1.0-0", "libgdal-dev"),
    "debian12": ("gcc", "g++", "libc6-dev", "python3.11-dev", "libpq5", "libpango-1.0-0", "libgdal-dev"),
}


@pytest.mark.parametrize("suite", sorted(WANTED))
def test_every_relation_holds(suite: str, debian_index: Callable[[str], PackageIndex]):
    index = debian_index(suite)
    have = {name: index.versions(name)[0].version for name in SUITES[suite].packages("nonroot")}
    for wanted in WANTED[suite]:
        chosen = close([wanted], have, index)
        names = {row.name for row in chosen}
        assert not names & (set(have) | HELPERS)
        there = {**have, **{row.name: row.version for row in chosen}}
        rows = [index.versions(name)[0] for name in have] + list(chosen)

        def holds(relation: Any, there: dict[str, str] = there, rows: Any = rows) -> bool:
            if relation.name in HELPERS or (relation.name in there and relation.allows(there[relation.name])):
                return True
            versions = [found for row in rows for found in provided(row, relation.name, "amd64")]
            return any(not relation.relation or (found and relation.allows(found)) for found in versions)

        asked = {wanted}
        for row in chosen:
            for group in dependency.parse(f"{row.depends}, {row.pre_depends}", "amd64"):
                assert any(holds(relation) for relation in group), (wanted, row.name, group)
                asked |= {relation.name for relation in group}
        for row in chosen:
            virtual = {found.name for group in dependency.parse(row.provides, "amd64") for found in group}
            assert row.name in asked or virtual & asked, (wanted, row.name)
