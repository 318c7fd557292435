"""The app that a server is told to load: uvicorn, gunicorn and their like import what an argument names."""

import posixpath
import re
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.oci.config import ImageConfig
from dpbuild.stages.proof.start import Start

# Of these an argument is MODULE:ATTRIBUTE (their documentation, "Usage"); gunicorn takes MODULE alone, too, which
# cannot be told from an option's value here.
_POSITIONAL: Final = frozenset(("uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "waitress", "waitress-serve"))
# Of these an option names it.
_OPTIONS: Final = {"celery": ("-A", "--app"), "flask": ("-A", "--app")}
_VARIABLES: Final = {"celery": "CELERY_APP", "flask": "FLASK_APP"}
# The folder that comes before sys.path, in place of the working directory.
_FOLDERS: Final = ("--app-dir", "--chdir", "--working-dir", "--workdir")
# More folders, and files that may say anything of it.
_ELSEWHERE: Final = ("--pythonpath", "-c", "--config")
# Options of those servers whose value has the same form.
_OTHERS: Final = frozenset(("-k", "--worker-class", "--logger-class", "--log-config", "--call", "--access-logformat"))
_TARGET: Final = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*):[A-Za-z_][\w.]*(?:\(.*\))?")
_MODULE: Final = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*")


@frozen
class Served:
    """``server`` loads ``module`` (dotted), because ``word`` says so, with ``folder`` before sys.path.

    ``surely`` is False where options may let it look elsewhere.
    """

    server: str
    word: str
    module: str
    folder: str
    surely: bool = True


def server_of(begun: Start) -> str:
    """The server that a container starts, "" if it is none that is known here."""
    name = begun.task.module.partition(".")[0] or posixpath.basename(begun.task.script)
    return name if name in _POSITIONAL or name in _OPTIONS else ""


def served(begun: Start, config: ImageConfig) -> Served | None:
    """What the server that a container starts is told to load; None if it is none, or if that cannot be told."""
    told, server = begun.task, server_of(begun)
    word = _word(server, told.arguments, config)
    if word is None:
        return None
    target = _TARGET.fullmatch(word) or _MODULE.fullmatch(word)
    # What may as well be the path of a file is no module here.
    if target is None or word.endswith(".py"):
        return None
    folder = next((value for name in _FOLDERS if (value := _value(told.arguments, name)) is not None), "")
    return Served(
        server=server,
        word=word,
        module=target[1] if target.re is _TARGET else word,
        folder=posixpath.normpath(posixpath.join(config.working_dir or "/", folder)),
        surely=all(_value(told.arguments, name) is None for name in _ELSEWHERE),
    )


def _word(server: str, arguments: tuple[str, ...], config: ImageConfig) -> str | None:
    """The word that names the app."""
    if server in _POSITIONAL:
        rows = zip(("", *arguments), arguments, strict=False)
        return next((word for before, word in rows if before not in _OTHERS and _TARGET.fullmatch(word)), None)
    for name in _OPTIONS.get(server, ()):
        value = _value(arguments, name)
        if value is not None:
            return value
    return config.variable(_VARIABLES[server]) if server in _VARIABLES else None


def _value(arguments: tuple[str, ...], name: str) -> str | None:
    """The value of an option: ``NAME VALUE`` or ``--NAME=VALUE``."""
    for word, following in zip(arguments, (*arguments[1:], ""), strict=True):
        if word == name:
            return following
        if name.startswith("--") and word.startswith(f"{name}="):
            return word[len(name) + 1 :]
    return None
