"""Every Debian package that a recipe names is in the suite that it names it for, with all it depends on."""

from collections.abc import Callable

import pytest

from dpbuild.debian.closure import HELPERS, close
from dpbuild.debian.package_index import PackageIndex
from dpbuild.debian.suites import SUITES
from dpbuild.stages import recipes

pytestmark = pytest.mark.network


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("suite", sorted(SUITES))
def test_the_suite_has_what_a_recipe_names(suite: str, name: str, debian_index: Callable[[str], PackageIndex]):
    index = debian_index(suite)
    recipe = recipes.shipped(name)
    assert recipe is not None
    run = recipe.run_on(suite)
    named = (*recipe.build_on(suite).packages, *run.packages, *run.without)
    assert [row for row in named if not index.versions(row)] == []
    have = {row: index.versions(row)[0].version for row in SUITES[suite].packages("nonroot")}
    for wanted in (recipe.build_on(suite).packages, run.packages):
        close(wanted, have, index, helpers=HELPERS | set(run.without))


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_what_opencv_leaves_out_is_what_makes_it_small(suite: str, debian_index: Callable[[str], PackageIndex]):
    index = debian_index(suite)
    recipe = recipes.shipped("opencv-python")
    assert recipe is not None
    run = recipe.run_on(suite)
    have = {row: index.versions(row)[0].version for row in SUITES[suite].packages("nonroot")}
    size = sum(row.size for row in close(run.packages, have, index, helpers=HELPERS | set(run.without)))
    assert size < 6_000_000
    assert sum(row.size for row in close(run.packages, have, index)) > 5 * size
