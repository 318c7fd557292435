"""A provenance read again: what to do to get the same image. Pure."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from dpbuild.errors import BaseImageError
from dpbuild.frozen import frozen
from dpbuild.model.files import ProjectFile
from dpbuild.oci.digest import Digest
from dpbuild.stages.evidence.provenance import BUILD_LOCK, BUILD_TYPE, LOCK, PREDICATE


@frozen
class Instructions:
    """What a provenance says of a build.

    ``config`` are the keys of ``[tool.dpbuild]``, with the base by its digest; ``locks`` the text of each lock by its
    name; ``sources`` the project's files: path, sha256, target of a link, whether it is executable. Times are in
    seconds. ``version`` is that of the dpbuild that made it.
    """

    config: dict[str, Any]
    platforms: tuple[str, ...]
    app: str
    epoch: int
    file_time: int
    locks: dict[str, str]
    sources: tuple[tuple[str, str, str, bool], ...]
    version: str


def instructions(data: bytes, subject: Digest) -> Instructions:
    """What the statement says of how ``subject`` was built. Raises BaseImageError if it says something else."""
    try:
        value = json.loads(data)
        definition = value["predicate"]["buildDefinition"]
        if value["predicateType"] != PREDICATE or definition["buildType"] != BUILD_TYPE:
            raise BaseImageError("the image's provenance is not of a build by dpbuild")
        if subject.hex not in {row["digest"].get("sha256") for row in value["subject"]}:
            raise BaseImageError("the image's provenance is about another image")
        parameters = definition["externalParameters"]
        rows = definition["resolvedDependencies"]
        base = next(row["uri"] for row in rows if row["annotations"]["role"] == "base")
        locks = {
            row["name"]: base64.b64decode(row["content"], validate=True).decode()
            for row in rows
            if row["annotations"]["role"] in ("lock", "build-lock") and row["name"] in (LOCK, BUILD_LOCK)
        }
        sources = (row for row in rows if row["annotations"]["role"] == "source")
        return Instructions(
            config={**parameters["config"], "base": parameters["config"].get("base", base)},
            platforms=tuple(parameters["platforms"]),
            app=parameters["app"],
            epoch=int(parameters["epoch"]),
            file_time=int(parameters["fileTime"]),
            locks=locks,
            sources=tuple(_source(row) for row in sources),
            version=str(value["predicate"]["runDetails"]["builder"]["version"]["dpbuild"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as problem:
        raise BaseImageError(f"the image's provenance cannot be read: {problem!r}") from None


def _source(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    notes = row["annotations"]
    return str(row["name"]), row["digest"]["sha256"], notes.get("target", ""), bool(notes.get("executable"))


def differences(told: Instructions, files: Sequence[ProjectFile]) -> tuple[str, ...]:
    """How the project's files differ from those that the image was made from, one line each."""
    before = {
        path: (digest if not target else "", target, executable) for path, digest, target, executable in told.sources
    }
    now = {file.path: (file.sha256, file.target, file.executable and not file.target) for file in files}
    lines = []
    for path in sorted(before.keys() | now.keys()):
        if path not in now:
            lines.append(f"{path} is missing")
        elif path not in before:
            lines.append(f"{path} is new")
        elif before[path][:2] != now[path][:2]:
            lines.append(f"{path} has other content")
        elif before[path][2] != now[path][2]:
            lines.append(f"{path} is {'' if now[path][2] else 'not '}executable now")
    return tuple(lines)
