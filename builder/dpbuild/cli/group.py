"""The command line by click: every verb, its options, and its help."""

import importlib

import click

from dpbuild import __version__
from dpbuild.cli.main import VERBS
from dpbuild.errors import UsageError


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"dpbuild.cli.{cmd_name}"), "command")  # noqa: B009
        if not isinstance(command, click.Command):
            return None
        _show_twins(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in VERBS and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, VERBS, n=1)
            raise click.UsageError(
                f"there is no verb {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""), ctx
            )
        return super().resolve_command(ctx, args)


def _show_twins(command: click.Command) -> None:
    """Have --help name each option's twin in the environment."""
    for option in command.params:
        if isinstance(option, click.Option):
            option.show_envvar = True
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _show_twins(inner)


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Reproducible images on distroless Python bases, without a Dockerfile."""


def run(arguments: list[str], said: dict[str, bool]) -> int:
    """Run the command line; the exit code. Raises DpbuildError, UsageError for what click refuses."""
    try:
        status = cli.main(args=arguments, prog_name="dpbuild", standalone_mode=False, obj=said)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as problem:
        problem.show()
        return problem.exit_code
    except click.ClickException as problem:
        raise _usage(problem) from None
    except click.Abort:
        raise KeyboardInterrupt from None


def _usage(problem: click.ClickException) -> UsageError:
    """The same, in the form that all errors have."""
    text = problem.format_message().rstrip(".")
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    hint = f"{context.command_path} --help lists what there is" if context is not None else None
    return UsageError(text[:1].lower() + text[1:], hint=hint)
