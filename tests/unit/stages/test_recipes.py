"""Recipes: read, refused, laid over each other and chosen."""

import re

import pytest

from dpbuild.debian.suites import SUITES
from dpbuild.errors import ConfigError
from dpbuild.model.recipe import Recipe
from dpbuild.stages import config as config_stage
from dpbuild.stages import recipes

WHOLE = """
summary = "a text"
version = ">=2"

[build]
fetch = [["make", "fetch"]]
packages = ["libfoo-dev", "pkgconf"]
options = { "--one" = "1", "--two" = ["2", "3"] }
environment = { FOO = "all" }
repair = true

[build.debian12]
repair = false
version = "<3"
packages = ["libbar-dev", "pkgconf"]
environment = { FOO = "twelve" }

[run]
when = "built"
unless = ["Foo_Binary"]
packages = ["libfoo1"]

[run.debian13]
packages = ["libfoo1t64"]
without = ["x11-common"]

[smoke]
code = "import foo"
"""


def test_every_key_has_its_value():
    recipe = recipes.parse("foo", WHOLE, "recipes/foo.toml")
    assert recipe.smoke == "import foo"
    twelve, thirteen = (recipe.build_on(suite) for suite in ("debian12", "debian13"))
    assert twelve.packages == ("libfoo-dev", "pkgconf", "libbar-dev")
    assert twelve.version == "<3"
    assert twelve.fetch == thirteen.fetch == (("make", "fetch"),)
    assert twelve.options == thirteen.options == (("--one", ("1",)), ("--two", ("2", "3")))
    assert twelve.environment == (("FOO", "twelve"),)
    assert thirteen.environment == (("FOO", "all"),)
    assert thirteen.packages == ("libfoo-dev", "pkgconf")
    assert (twelve.repair, thirteen.repair) == (False, True)
    run = recipe.run_on("debian13")
    assert (run.packages, run.without) == (("libfoo1", "libfoo1t64"), ("x11-common",))
    assert (run.when, run.unless) == ("built", ("foo-binary",))
    assert recipe.run_on("debian12").packages == ("libfoo1",)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[build]\npakages = ["a"]', 2, "unknown key 'build.pakages'; did you mean 'packages'?"),
        ("[built]", 1, "unknown key 'built'; did you mean 'build'?"),
        ("[run.debian31]", 1, "unknown key 'run.debian31'; did you mean 'debian13'?"),
        ('[run.debian13]\nwhen = "built"', 2, "unknown key 'run.debian13.when'"),
        ('[smoke]\ncoda = ""', 2, "unknown key 'smoke.coda'; did you mean 'code'?"),
        ('version = "latest"', 1, "version: not a version specifier: 'latest'"),
        ("\n[build]\npackages = 'a'", 3, "build.packages must be an array of strings, not a string"),
        ('[run]\npackages = ["libpq5 (>= 1)"]', 2, "not the name of a Debian package: 'libpq5 (>= 1)'"),
        ('[run]\nwhen = "never"', 2, 'run.when: must be "always" or "built"'),
        ('[smoke]\ncode = "import"', 2, "smoke.code is not Python"),
        ('[build]\nfetch = ["make"]', 2, r"build.fetch[0] must be an array of strings"),
        ("build = 1", 1, "build must be a table, not an integer"),
        ("[build]\noptions = { x = 1 }", 2, "build.options.x must be an array of strings"),
        ('[build]\nrepair = "yes"', 2, "build.repair must be true or false, not a string"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(text: str, line: int, said: str):
    with pytest.raises(ConfigError, match=re.escape(said)) as found:
        recipes.parse("foo", text, "recipes/foo.toml")
    assert found.value.where == f"recipes/foo.toml:{line}"
    assert found.value.exit_code == 10


def test_keys_that_resemble_none_are_told_which_there_are():
    with pytest.raises(ConfigError) as found:
        recipes.parse("foo", "[run]\nxyz = 1", "recipes/foo.toml")
    assert found.value.hint == "the keys of run are packages, without, when, unless, debian12, debian13"


def test_all_problems_are_said_at_once():
    with pytest.raises(ConfigError, match=r"'a'.*'b'"):
        recipes.parse("foo", "a = 1\nb = 2", "x")
    with pytest.raises(ConfigError, match="not valid TOML"):
        recipes.parse("foo", "a =", "x")


@pytest.mark.parametrize("name", recipes.names())
def test_a_shipped_recipe_is_whole(name: str):
    recipe = recipes.shipped(name)
    assert recipe is not None
    assert recipe.summary
    assert recipe.smoke.strip()
    for suite in SUITES:
        assert recipe.build_on(suite).packages or recipe.run_on(suite).packages
    # A project whose wheels on the index need nothing has packages to build; others always need theirs to run.
    assert recipe.run.when == "always" or recipe.build.packages


def test_the_recipes_that_were_promised():
    build = "psycopg2 psycopg-c mysqlclient lxml pillow pyodbc python-ldap uwsgi gevent cffi pycairo gdal xmlsec h5py"
    run = "python-magic weasyprint opencv-python"
    assert set(f"{build} {run}".split()) <= set(recipes.names())


def test_a_name_that_is_no_name_is_not_looked_for():
    assert recipes.shipped("../pyproject") is None
    assert recipes.shipped("") is None


def test_a_recipe_is_chosen_by_version_and_suite():
    assert recipes.choose("gdal", "3.10.3", "debian13") is not None
    assert recipes.choose("gdal", "3.10.3", "debian12") is None
    assert recipes.outside("gdal", "3.10.3", "debian12") == "==3.6.*"
    assert recipes.outside("gdal", "3.6.2", "debian12") == ""
    assert recipes.choose("psycopg", "2.9", "debian12") is None
    assert recipes.choose("psycopg", "3.3.0rc1", "debian12") is not None
    assert recipes.choose("nobody-knows", "1", "debian12") is None
    # Without a suite that recipes know, what holds for all suites is left.
    found = recipes.choose("psycopg2", "2.9", "")
    assert found is not None
    assert found.build_on("").packages == ("libpq-dev",)


@pytest.mark.parametrize(("distributor", "suite"), [("debian:12", "debian12"), ("wolfi:20230201", ""), ("", "")])
def test_suites_by_distributor(distributor: str, suite: str):
    assert recipes.suite_of(distributor) == suite


def configured(text: str) -> tuple[Recipe, ...]:
    return config_stage.load("/project", {"pyproject.toml": text}.get).recipes


def test_the_configuration_is_laid_over_the_shipped_recipe():
    (recipe,) = configured(
        '[tool.dpbuild.recipes.Psycopg2.build]\npackages = ["libpq-dev", "make"]\n'
        "[tool.dpbuild.recipes.Psycopg2.run.debian13]\npackages = ['libpq5-more']\n"
    )
    shipped = recipes.shipped("psycopg2")
    assert shipped is not None
    assert recipe.build.packages == ("libpq-dev", "make")
    assert recipe.run_on("debian13").packages == ("libpq5", "libpq5-more")
    assert recipe.run_on("debian12") == shipped.run_on("debian12")
    assert recipe.smoke == shipped.smoke
    assert recipes.choose("psycopg2", "2.9", "debian13", (recipe,)) is recipe


def test_a_recipe_of_the_configuration_alone():
    (recipe,) = configured('[tool.dpbuild.recipes."My.Own"]\nversion = "<2"\nrun.packages = ["libown1"]\n')
    assert recipe.name == "my-own"
    assert recipes.choose("my-own", "1.0", "debian13", (recipe,)) is recipe
    assert recipes.choose("my-own", "2.0", "debian13", (recipe,)) is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[tool.dpbuild.recipes.lxml.build]\npackage = []", 2, "unknown key 'recipes.lxml.build.package'"),
        ("[tool.dpbuild]\nrecipes.lxml = 1", 2, "recipes.lxml must be a table"),
        ("[tool.dpbuild]\nrecipes = 1", 2, "recipes must be a table"),
        ("[tool.dpbuild]\nruntime-packages = ['lib pq']", 2, "not the name of a Debian package: 'lib pq'"),
    ],
)
def test_what_is_wrong_in_the_configuration(text: str, line: int, said: str):
    with pytest.raises(ConfigError, match=re.escape(said)) as found:
        configured(text)
    assert found.value.where == f"pyproject.toml:{line}"
