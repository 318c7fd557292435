"""``dpbuild recipes``."""

import json

import pytest
from click.testing import CliRunner

from dpbuild.cli.recipes import command
from dpbuild.errors import UsageError
from dpbuild.stages import recipes


def ran(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_list_has_a_line_for_each():
    lines = ran("list").splitlines()
    assert [line.split()[0] for line in lines] == list(recipes.names())
    said = {line.split()[0]: line for line in lines}
    assert "build and run" in said["psycopg2"]
    assert " run " in said["weasyprint"]


def test_as_json():
    rows = {row["name"]: row for row in json.loads(ran("list", "--json"))}
    assert rows["gdal"]["suites"]["debian12"]["run"]["packages"] == ["libgdal32"]
    assert json.loads(ran("show", "GDAL", "--json")) == rows["gdal"]


def test_what_is_shown_is_the_recipe():
    text = ran("show", "Python_Magic")
    assert recipes.parse("python-magic", text, "x") == recipes.shipped("python-magic")


def test_an_unknown_name():
    with pytest.raises(UsageError, match=r"no recipe of 'psycopg4'; did you mean 'psycopg"):
        ran("show", "psycopg4")
