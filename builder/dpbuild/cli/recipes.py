"""``dpbuild recipes``."""

import json
from typing import Any

import click

from dpbuild.errors import UsageError
from dpbuild.frozen import asdict
from dpbuild.model.recipe import Recipe


def _row(recipe: Recipe) -> str:
    builds = bool(recipe.build.packages or recipe.builds)
    runs = bool(recipe.run.packages or recipe.runs)
    return " and ".join(word for word, there in (("build", builds), ("run", runs)) if there) or "smoke test"


def as_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as ``--json`` prints it."""
    from dpbuild.debian.suites import SUITES

    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "version": recipe.version,
        "smoke": recipe.smoke,
        "suites": {
            suite: {
                "build": {
                    **asdict(build := recipe.build_on(suite)),
                    "options": {name: list(values) for name, values in build.options},
                    "environment": dict(build.environment),
                    "fetch": [list(row) for row in build.fetch],
                    "repair": bool(build.repair),
                },
                "run": asdict(recipe.run_on(suite)),
            }
            for suite in SUITES
        },
    }


@click.group("recipes")
def command() -> None:
    """Show what dpbuild knows of projects that need Debian packages to be built or to run."""


@command.command("list", short_help="List the recipes that dpbuild ships.")
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON with everything.")
def list_(*, json_: bool) -> None:
    """List the recipes that dpbuild ships: the project, what for, and what it is."""
    from dpbuild.stages import recipes

    found = [recipe for name in recipes.names() if (recipe := recipes.shipped(name)) is not None]
    if json_:
        click.echo(json.dumps([as_json(recipe) for recipe in found], indent=2))
        return
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        click.echo(f"{recipe.name:<{width}}  {_row(recipe):<13}  {recipe.summary}")


@command.command("show", short_help="Print the recipe of a project.")
@click.argument("name")
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON, suite by suite.")
def show(name: str, *, json_: bool) -> None:
    """Print the recipe of the project NAME: its keys are those of [tool.dpbuild.recipes.NAME]."""
    from packaging.utils import canonicalize_name

    from dpbuild.stages import recipes
    from dpbuild.stages.problems import near

    normal = str(canonicalize_name(name))
    recipe, text = recipes.shipped(normal), recipes.shipped_text(normal)
    if recipe is None or text is None:
        raise UsageError(
            f"there is no recipe of {name!r}{near(normal, recipes.names())}", hint="dpbuild recipes list has them all"
        )
    click.echo(json.dumps(as_json(recipe), indent=2) if json_ else text.rstrip())
