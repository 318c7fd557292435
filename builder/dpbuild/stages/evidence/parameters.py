"""The configuration as a provenance tells it: in the words of the configuration itself, without credentials. Pure."""

import re
from collections.abc import Callable
from typing import Any, Final

from dpbuild.frozen import fields
from dpbuild.model.config import BuilderConfig, Config, FileCopy
from dpbuild.model.recipe import Build, Recipe, Run
from dpbuild.oci.config import Healthcheck
from dpbuild.oci.reference import RegistryReference

_USER: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)


def without_user(url: str) -> str:
    """``url`` without user and password."""
    return _USER.sub(r"\1", url)


def _plain(value: Any) -> Any:
    return value


def _texts(value: tuple[Any, ...]) -> list[str]:
    return [str(row) for row in value]


def _copies(value: tuple[FileCopy, ...]) -> list[dict[str, str]]:
    return [{"from": row.source, "to": row.target} for row in value]


def _check(value: Healthcheck) -> list[str]:
    return list(value.test[1:])


def _builder(value: BuilderConfig) -> dict[str, Any]:
    """What of the builder may show in what it builds: limits of time and memory do not.

    Its variables never reach the image and may be credentials for what is fetched; they are left out.
    """
    rows: dict[str, Any] = {"image": value.image, "packages": list(value.packages), "resolve": value.resolve}
    rows |= {"network": value.network, "repair": value.repair}
    return {name: row for name, row in rows.items() if row}


def _recipes(value: tuple[Recipe, ...]) -> dict[str, Any]:
    return {row.name: _recipe(row) for row in value}


def _recipe(row: Recipe) -> dict[str, Any]:
    build, run = _set(row.build), _set(row.run)
    build |= {suite: _set(each) for suite, each in row.builds}
    run |= {suite: _set(each) for suite, each in row.runs}
    out = {"version": row.version, "build": build, "run": run}
    return {name: each for name, each in out.items() if each}


def _set(part: Build | Run) -> dict[str, Any]:
    """The fields that differ from their defaults; pairs become tables."""
    out: dict[str, Any] = {}
    for row in fields(part):
        value = getattr(part, row.name)
        if value != row.default:
            pairs = row.name in ("options", "environment")
            out[row.name] = dict(value) if pairs else list(value) if isinstance(value, tuple) else value
    return out


# Key of the configuration: field of Config and its form in TOML. Tags, mirrors, and what concerns evidence alone do
# not decide what is in the image, and are left out; so is where the project lies.
_KEYS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "extras": ("extras", _texts),
    "groups": ("groups", _texts),
    "entrypoint": ("entrypoint", _texts),
    "script": ("script", _plain),
    "cmd": ("cmd", _texts),
    "env": ("env", dict),
    "labels": ("labels", dict),
    "annotations": ("annotations", dict),
    "user": ("user", _plain),
    "workdir": ("workdir", _plain),
    "expose": ("expose", _texts),
    "volumes": ("volumes", _texts),
    "stop-signal": ("stop_signal", _plain),
    "healthcheck": ("healthcheck", _check),
    "app": ("app", _plain),
    "include": ("include", _texts),
    "exclude": ("exclude", _texts),
    "files": ("files", _copies),
    "ca-certificates": ("ca_certificates", _texts),
    "bytecode": ("bytecode", _plain),
    "compression": ("compression", _plain),
    "runtime-packages": ("runtime_packages", _texts),
    "builder": ("builder", _builder),
    "recipes": ("recipes", _recipes),
    "find-links": ("find_links", lambda value: [without_user(row) for row in value]),
    "no-binary": ("no_binary", _texts),
    "only-binary": ("only_binary", _texts),
}


def parameters(config: Config) -> dict[str, Any]:
    """The keys of ``[tool.dpbuild]`` that differ from their defaults, after flags, and the base always."""
    plain = {row.name: row.default for row in fields(Config)}
    base = config.base
    out: dict[str, Any] = {"base": f"docker://{base}" if isinstance(base, RegistryReference) else str(base)}
    for key, (name, form) in _KEYS.items():
        value = getattr(config, name)
        if value != plain[name]:
            out[key] = form(value)
    return out
