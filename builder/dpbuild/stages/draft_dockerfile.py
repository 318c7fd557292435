"""What a project's Dockerfile says, as keys of ``[tool.dpbuild]``: those that are sure, and the others. Pure."""

import json
import posixpath
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from dpbuild.stages.dockerfile import Command, Stage
from dpbuild.stages.image import APP
from dpbuild.stages.proof.supply import secret_name

_PYTHON: Final = re.compile(r"python[0-9.]*")
_PORT: Final = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash"})
# What only passes its arguments on.
_INITS: Final = frozenset({"tini", "dumb-init", "catatonit", "exec"})
_RUNNERS: Final = frozenset({"uv", "poetry", "pipenv", "pdm", "hatch", "rye"})
# A shell does something about these.
_META: Final = re.compile(r"[$&|;<>`()*?~{}\n]")
# Where packages are is the base's matter, and how they are installed that of the build.
_NEEDLESS: Final = re.compile(r"PATH|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV|DEBIAN_FRONTEND|(?:PIP|UV|POETRY|PDM|PIPENV)_.*")


@dataclass(slots=True, kw_only=True)
class Proposal:
    """``sure`` are keys; ``unsure`` keys with the reason to look at them, or ("", None, a sentence)."""

    sure: dict[str, Any] = field(default_factory=dict)
    unsure: list[tuple[str, Any, str]] = field(default_factory=list)

    @property
    def starts(self) -> bool:
        """Whether it is sure what is started."""
        return "script" in self.sure or "entrypoint" in self.sure


def propose(stage: Stage, kind: str, files: Collection[str]) -> Proposal:
    """The proposal for a project whose app is of a ``kind`` and has these ``files`` (paths in the project)."""
    out = Proposal()
    _start(stage, kind, files, out)
    env = {}
    for name, value in stage.env:
        if _NEEDLESS.fullmatch(name):
            continue
        if secret_name(name):
            out.unsure.append(("", None, f"{name} is left out of env: give secrets when the image runs"))
        elif "$" in value:
            out.unsure.append((f"env.{name}", value, "variables are not expanded"))
        else:
            env[name] = value
    if env:
        out.sure["env"] = env
    ports: list[int | str] = []
    for row in stage.expose:
        found = _PORT.fullmatch(row)
        if found and 0 < int(found[1]) < 1 << 16:
            ports.append(int(found[1]) if found[2] in (None, "tcp") else row)
        else:
            out.unsure.append(("expose", [row], "ports are numbers"))
    if ports:
        out.sure["expose"] = ports
    _user(stage.user, out)
    if stage.workdir and (kind, stage.workdir) != ("copy", APP):
        where = (
            "the app is installed, and its files are not there" if kind == "wheel" else f"the app's files are in {APP}"
        )
        out.unsure.append(("workdir", stage.workdir, where))
    return out


def _user(user: str, out: Proposal) -> None:
    if user in ("", "nonroot", "65532", "65532:65532", "nonroot:nonroot"):
        return
    if re.fullmatch(r"[1-9][0-9]*(?::[0-9]+)?", user):
        out.sure["user"] = user
    else:
        root = user.partition(":")[0] in ("root", "0")
        out.unsure.append(("user", user, "the base's is nonroot" if root else "a user that the base has, or a number"))


def _start(stage: Stage, kind: str, files: Collection[str], out: Proposal) -> None:
    entry, after = _words(stage.entrypoint), _words(stage.cmd)
    # A CMD is appended to an entrypoint in exec form alone.
    rest = after if stage.entrypoint.words else ()
    if entry == ():
        entry, rest = after, ()
    told = " ".join(
        json.dumps([*row.words]) if row.words else row.shell for row in (stage.entrypoint, stage.cmd) if row
    )
    if not told:
        return
    shell = bool(stage.entrypoint.shell or stage.cmd.shell)
    keys = None if entry is None or rest is None else _keys(stage, entry, rest)
    if keys is None:
        out.unsure.append(
            ("", None, f"The Dockerfile starts {json.dumps(told)}; say what that comes to without a shell.")
        )
        return
    if "entrypoint" in keys:
        placed = _placed(keys["entrypoint"], stage.workdir or "/", files if kind == "copy" else ())
        keys["entrypoint"] = keys["entrypoint"] if placed is None else placed
        reason = "a file that is not seen here" if placed is None else ""
    else:
        reason = ""
    reason = "there is no shell, which the Dockerfile asks for" if shell else reason
    if reason:
        out.unsure += [(key, value, reason) for key, value in keys.items()]
    else:
        out.sure.update(keys)


def _words(command: Command) -> tuple[str, ...] | None:
    """The words; of a shell's those of a plain command, None where the shell has more to do."""
    if not command.shell:
        return command.words
    if _META.search(command.shell):
        return None
    try:
        return tuple(shlex.split(command.shell))
    except ValueError:
        return None


def _keys(stage: Stage, entry: tuple[str, ...], rest: tuple[str, ...]) -> dict[str, Any] | None:
    """``entrypoint`` or ``script``, with ``cmd``; None for what is no program of Python's."""
    # distroless' own entrypoint is the interpreter.
    inherited = not stage.entrypoint and "distroless/python3" in stage.image
    words = [*entry]
    while words and posixpath.basename(words[0]) in _INITS:
        words.pop(0)
        while words and words[0].startswith("-"):
            words.pop(0)
    if not words:
        words, rest = [*rest], ()
    if len(words) > 1 and words[0] in _RUNNERS and words[1] == "run":
        del words[:2]
    if not words or (words[0].startswith("-") and not inherited):
        return None
    program = posixpath.basename(words[0])
    if inherited or words[0].endswith(".py"):
        arguments = words
    elif _PYTHON.fullmatch(program):
        arguments = words[1:]
        if not arguments:
            arguments, rest = [*rest], ()
    elif (
        program in _SHELLS
        or program.endswith(".sh")
        or posixpath.dirname(words[0]).rpartition("/")[2] not in ("", "bin")
    ):
        return None
    else:
        cmd = [*words[1:], *rest]
        return {"script": program} | ({"cmd": cmd} if cmd else {})
    if not arguments:
        return None
    return {"entrypoint": arguments} | ({"cmd": [*rest]} if rest else {})


def _placed(arguments: list[str], workdir: str, files: Collection[str]) -> list[str] | None:
    """The interpreter's arguments with the script as it lies in the app; None if there is no such file in it."""
    number = 0
    while number < len(arguments):
        word = arguments[number]
        if word in ("-m", "-c"):
            return arguments
        if not word.startswith("-"):
            path = posixpath.relpath(posixpath.join(workdir, word), workdir)
            return [*arguments[:number], path, *arguments[number + 1 :]] if path in files else None
        number += 2 if word in ("-X", "-W") else 1
    return arguments
