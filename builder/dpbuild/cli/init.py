"""``dpbuild init``."""

from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import OutputError, UsageError


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option(
    "-t", "--tag", "tags", multiple=True, envvar="DPBUILD_TAG", metavar="REF", help="A name for the image; repeat."
)
@options.platforms
@options.base
@options.loudness
def command(path: Path, **given: Any) -> None:
    """Write a first configuration for the project in PATH (default: this folder).

    It goes to the end of pyproject.toml, or where there is none to dpbuild.toml: the base that fits
    requires-python, and what the image starts. What a Dockerfile says of that, and its ENV, EXPOSE and USER, is
    taken over, as comments where it is not sure. A project that is configured already is left alone (10).
    """
    from dpbuild.stages import config, settings
    from dpbuild.stages.draft import draft
    from dpbuild.stages.problems import Problems

    world = options.world(**given)
    project = world.project(options.directory(path))
    flags: dict[str, object] = {}
    if given["base"]:
        flags["base"] = given["base"]
    if given["platform"]:
        flags["platforms"] = [*options.split(given["platform"])]
    if given["tags"]:
        flags["tags"] = [part for value in given["tags"] for part in value.split()]
    problems = Problems()
    settings.read(flags, problems)
    if problems.found:
        raise UsageError("; ".join(what for _, what in problems.found))
    found, pyproject = config.read_project(project.read)
    dockerfile = next(filter(None, map(project.read, ("Dockerfile", "Containerfile"))), "")
    texts = (project.exact("pyproject.toml"), project.exact("dpbuild.toml"))
    made = draft(found, pyproject, texts, project.app_files((), ()), flags, dockerfile)
    if not project.write(made.name, made.text):
        raise OutputError("the project is read-only", where=f"{project.directory}/{made.name}")
    world.reporter.result(f"written to {made.name}:")
    for line in made.lines:
        world.reporter.result(f"  {line}")
    for note in made.notes:
        world.reporter.note(note)
    click.echo(f"{project.directory}/{made.name}")
