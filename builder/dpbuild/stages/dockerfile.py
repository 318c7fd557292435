"""What the last stage of a Dockerfile says of the image's config (Dockerfile reference, docs.docker.com). Pure."""

import json
import posixpath
import re
import shlex
from collections.abc import Iterator
from typing import Final

from dpbuild.frozen import frozen, replace
from dpbuild.oci.descriptor import Pairs

_FROM: Final = re.compile(r"(?:--\S+\s+)*(?P<image>\S+)(?:\s+as\s+(?P<name>\S+))?\s*", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"#\s*escape\s*=\s*(\S)\s*", re.IGNORECASE)
_HEREDOC: Final = re.compile(r"<<-?(['\"]?)(\w+)\1")
_HEREDOCS: Final = frozenset({"RUN", "COPY", "ADD"})


@frozen
class Command:
    """ENTRYPOINT or CMD: the words of the exec form, or the text that a shell would get."""

    words: tuple[str, ...] = ()
    shell: str = ""

    def __bool__(self) -> bool:
        return bool(self.words or self.shell)


@frozen
class Stage:
    """One stage; ``image`` is what it begins with. Nothing is expanded: values have their ``$`` still."""

    image: str = ""
    entrypoint: Command = Command()
    cmd: Command = Command()
    env: Pairs = ()
    expose: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""


def last_stage(text: str) -> Stage | None:
    """The stage that ``docker build`` makes the image of, with what it takes over from stages of this file; None where
    there is none. What cannot be read is passed over.
    """
    stages: dict[str, Stage] = {}
    stage, name = None, ""
    for word, rest in _instructions(text):
        if word == "FROM":
            found = _FROM.fullmatch(rest)
            image = found["image"] if found else rest
            stage = stages.get(image.lower(), Stage(image=image))
            name = (found["name"] or "").lower() if found else ""
        elif stage is not None:
            stage = _said(stage, word, rest)
        if stage is not None and name:
            stages[name] = stage
    return stage


def _said(stage: Stage, word: str, rest: str) -> Stage:
    match word:
        case "ENTRYPOINT":
            # An entrypoint does away with the CMD that the image before had.
            return replace(stage, entrypoint=_command(rest), cmd=Command())
        case "CMD":
            return replace(stage, cmd=_command(rest))
        case "ENV":
            return replace(stage, env=tuple((dict(stage.env) | _variables(rest)).items()))
        case "EXPOSE":
            return replace(stage, expose=tuple(dict.fromkeys((*stage.expose, *rest.split()))))
        case "USER":
            return replace(stage, user=rest)
        case "WORKDIR":
            return replace(stage, workdir=posixpath.normpath(posixpath.join(stage.workdir or "/", rest.strip("\"'"))))
        case _:
            return stage


def _command(rest: str) -> Command:
    try:
        words = json.loads(rest) if rest.startswith("[") else None
    except ValueError:
        words = None
    if isinstance(words, list) and all(isinstance(row, str) for row in words):
        return Command(words=tuple(words))
    return Command(shell=rest)


def _variables(rest: str) -> dict[str, str]:
    name, _, value = rest.partition(" ")
    if "=" not in name:
        return {name: value.strip()} if name else {}
    try:
        rows = [row.partition("=") for row in shlex.split(rest)]
    except ValueError:
        return {}
    return {name: value for name, joint, value in rows if name and joint}


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction in capitals, and the rest of its logical line."""
    lines = iter(text.splitlines())
    directive = _ESCAPE.fullmatch(text.partition("\n")[0].strip())
    escape = directive[1] if directive else "\\"
    parts: list[str] = []
    for line in lines:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        going_on = stripped.endswith(escape)
        parts.append(stripped[:-1] if going_on else stripped)
        if going_on:
            continue
        word, _, rest = " ".join(part.strip() for part in parts).partition(" ")
        parts = []
        if word.upper() in _HEREDOCS:
            for found in _HEREDOC.finditer(rest):
                next((each for each in lines if each.strip() == found[2]), None)
        yield word.upper(), rest.strip()
