"""The ``dpbuild`` command: its verbs, and how errors are shown."""

import importlib
import signal
import sys
import traceback
from typing import Final

import click

from dpbuild import __version__
from dpbuild.adapters import interruption
from dpbuild.errors import DpbuildError, UsageError

# One line each, so that --help need not import every verb.
VERBS: Final = {
    "init": "Write a first configuration.",
    "build": "Make an image from a project, and write or push it.",
    "lock": "Write pylock.dpbuild.toml, or check it.",
    "inspect": "Show what is known of a base's Python.",
    "check": "Look for what would break in an image, also one made by a Dockerfile.",
    "explain": "Say what a rule of check means and how to mend it.",
    "verify": "Check the signatures of an image and of its evidence.",
    "sbom": "List every package in an image, as CycloneDX.",
    "diff": "Tell what differs between two images, and why.",
    "rebuild": "Build an image again from its own provenance, and compare digests.",
    "run": "Run an image, in an engine or without one.",
    "base": "Make a base from Debian's packages.",
    "cache": "Show how much is kept on this machine, or remove it.",
    "recipes": "List what is known of projects that need Debian packages.",
}


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"dpbuild.cli.{cmd_name}"), "command")  # noqa: B009
        return command if isinstance(command, click.Command) else None

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


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Reproducible images on distroless Python bases, without a Dockerfile."""


def show(error: DpbuildError) -> str:
    """The error as the user reads it."""
    lines = [f"error: {error.what}"]
    if error.where:
        lines.append(f"   at: {error.where}")
    if error.hint:
        lines.append(f" hint: {error.hint}")
    return "\n".join(lines)


def _usage(problem: click.ClickException) -> UsageError:
    """The same, in the form that all errors have."""
    text = problem.format_message().rstrip(".")
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    hint = f"{context.command_path} --help lists what there is" if context is not None else None
    return UsageError(text[:1].lower() + text[1:], hint=hint)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns. Exit codes are those of ``errors.py``."""
    # A terminated dpbuild cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    interruption.begin()
    said: dict[str, bool] = {}
    try:
        status = cli.main(args=arguments, prog_name="dpbuild", standalone_mode=False, obj=said)
        code = status if isinstance(status, int) else 0
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.exceptions.NoArgsIsHelpError as problem:
        problem.show()
        code = problem.exit_code
    except click.ClickException as problem:
        print(show(_usage(problem)), file=sys.stderr)  # noqa: T201
        code = problem.exit_code
    except DpbuildError as problem:
        if said.get("verbose"):
            traceback.print_exc()
        print(show(problem), file=sys.stderr)  # noqa: T201
        code = problem.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        code = 130
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        sys.stderr.close()
        code = 1
    except Exception:  # noqa: BLE001 - the last resort: whatever is not ours is a bug, and is shown whole
        traceback.print_exc()
        print("error: this is a bug in dpbuild; please report it with the lines above", file=sys.stderr)  # noqa: T201
        code = 1
    sys.exit(code)


def _interrupt(_number: int, _frame: object) -> None:
    interruption.interrupt()
    raise KeyboardInterrupt
