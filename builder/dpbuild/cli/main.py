"""The ``dpbuild`` command: its verbs, and how errors are shown."""

import gc
import signal
import sys
from typing import Final, NoReturn

from dpbuild import __version__
from dpbuild.adapters import interruption
from dpbuild.cli.leaving import Leaving
from dpbuild.errors import DpbuildError

# Values made before the young are searched for cycles, and how often that is done before the older ones are. What a run
# makes lives to its end for the most part, and hardly any of it in cycles; searching took a tenth of a build.
_GARBAGE: Final = (200_000, 20, 50)

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


def show(error: DpbuildError) -> str:
    """The error as the user reads it."""
    lines = [f"error: {error.what}"]
    if error.where:
        lines.append(f"   at: {error.where}")
    if error.hint:
        lines.append(f" hint: {error.hint}")
    return "\n".join(lines)


def command() -> NoReturn:
    """What the installed command calls: run the command line, and end the process."""
    leaving = Leaving()
    leaving.leave(_code(sys.argv[1:]))


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line in a process that may have more to do; raises SystemExit with its exit code."""
    sys.exit(_code(sys.argv[1:] if arguments is None else arguments))


def _code(arguments: list[str]) -> int:
    """Run the command line. Exit codes are those of ``errors.py``."""
    # A terminated dpbuild cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    interruption.begin()
    gc.set_threshold(*_GARBAGE)
    said: dict[str, bool] = {}
    try:
        code = _run(arguments, said)
    except DpbuildError as problem:
        if said.get("verbose"):
            _show_trace()
        print(show(problem), file=sys.stderr)  # noqa: T201
        code = problem.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        code = 130
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        sys.stderr.close()
        code = 1
    except Exception:  # noqa: BLE001 - the last resort: whatever is not ours is a bug, and is shown whole
        _show_trace()
        print("error: this is a bug in dpbuild; please report it with the lines above", file=sys.stderr)  # noqa: T201
        code = 1
    return code


def _run(arguments: list[str], said: dict[str, bool]) -> int:
    if arguments == ["--version"]:
        print(f"dpbuild {__version__}")  # noqa: T201
        return 0
    if arguments[:1] == ["build"]:
        # Importing click takes longer than what an unchanged project needs besides.
        from dpbuild.cli import plain

        given = plain.read(arguments[1:])
        if given is not None:
            plain.run(given, said)
            return 0
    from dpbuild.cli.group import run

    return run(arguments, said)


def _show_trace() -> None:
    import traceback

    traceback.print_exc()


def _interrupt(_number: int, _frame: object) -> None:
    interruption.interrupt()
    raise KeyboardInterrupt
