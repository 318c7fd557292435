"""The keys of ``[tool.dpbuild]``: their types, their defaults, and everything that is wrong with them.

Nothing is read from disk here, and no problem stops the search for the next.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from dpbuild.archive.entry import deletes
from dpbuild.model.config import DEFAULT_BASE, FileCopy
from dpbuild.model.recipe import Recipe
from dpbuild.oci.config import Healthcheck
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference, RegistryReference, parse, parse_registry
from dpbuild.pypa import normalized
from dpbuild.stages import recipes, settings_builder
from dpbuild.stages.problems import (
    Problems,
    each,
    near,
    parsed,
    read_flag,
    read_pairs,
    read_text,
    read_texts,
    wrong,
)

# signal(7), as every engine knows them: names with SIG, those for real time by their distance, or numbers up to 64.
_SIGNAL = (
    r"SIG(?:ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP"
    r"|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTMIN(?:\+(?:[1-9]|1[0-5]))?|RTMAX(?:-(?:[1-9]|1[0-4]))?)"
    r"|[1-9]|[1-5][0-9]|6[0-4]"
)
# Where every container has something else than the image (OCI runtime spec, config-linux.md, "Default Filesystems").
_MOUNTED = ("proc", "sys", "dev")
_PORT = r"([0-9]{1,5})(?:/(tcp|udp|sctp))?"


def read(values: Mapping[str, object], problems: Problems) -> dict[str, Any]:
    """The fields of ``Config`` that the given keys set. What is wrong goes to ``problems``."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key not in _KEYS:
            problems.unknown(key, _KEYS)
        else:
            field_name, reader = _KEYS[key]
            read_value = reader(key, value, problems)
            if read_value is not None:
                out.update(read_value if field_name == "" else {field_name: read_value})
    if out.get("entrypoint") and out.get("script"):
        problems.add("script", "entrypoint and script exclude each other")
    return out


def defaults() -> dict[str, Any]:
    """What holds where nothing is configured and the dataclass has no default."""
    return {"base": parse(DEFAULT_BASE)}


def _base(text: str) -> Reference:
    return parse(text)


def _platform(text: str) -> Platform:
    platform = Platform.parse(text)
    if platform.os != "linux":
        raise ValueError(f"only Linux images are built, not {text!r}")
    return platform


def _tag(text: str) -> RegistryReference:
    tag = parse_registry(text.removeprefix("docker://"))
    if tag.digest is not None:
        raise ValueError(f"a tag cannot hold a digest: {text!r}")
    return tag


def _absolute(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError(f"must be an absolute path, not {text!r}")
    return text


def _signal(text: str) -> str:
    if text and not re.fullmatch(_SIGNAL, text):
        raise ValueError(f"not a signal: {text!r} (expected one of signal(7), such as SIGTERM)")
    return text


def _group(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise ValueError(f"not a name: {text!r}")
    return normalized(text)


def _project_pattern(text: str) -> str:
    return text if text == ":all:" else _group(text)


def _expose(key: str, value: object, problems: Problems) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        wrong(key, value, "an array of ports", problems)
        return None
    rows = []
    for number, row in enumerate(value):
        if isinstance(row, bool) or not isinstance(row, int | str):
            wrong(f"{key}[{number}]", row, 'a port such as 8000 or "8000/udp"', problems)
            continue
        found = re.fullmatch(_PORT, str(row))
        if not found or not 0 < int(found[1]) < 65536:
            problems.add(key, f'{key}: not a port: {row!r} (expected something like 8000 or "8000/udp")')
        else:
            rows.append(f"{int(found[1])}/{found[2] or 'tcp'}")
    return tuple(dict.fromkeys(rows))


def _not_a_place(source: str, target: str) -> str:
    """Why a file cannot be copied so; "" if it can."""
    parts = target.removesuffix("/").split("/")[1:]
    if not target.startswith("/"):
        return f"to must be an absolute path, not {target!r}"
    if "\0" in source or "\0" in target:
        return "a path cannot hold a NUL character"
    if any(part in ("", ".", "..") for part in parts):
        return f"to must be a path without '.', '..' and empty parts, not {target!r}"
    if parts and parts[0] in _MOUNTED:
        return f"to cannot be in /{parts[0]}, where engines mount a file system of the kernel's, not {target!r}"
    if deletes(target):
        return f"to = {target!r} would delete files in the image: names that begin with .wh. are for layers"
    return ""


def _files(key: str, value: object, problems: Problems) -> tuple[FileCopy, ...] | None:
    if not isinstance(value, list | tuple):
        wrong(key, value, 'an array of tables like {from = "conf/", to = "/etc/acme/"}', problems)
        return None
    rows = []
    for number, row in enumerate(value):
        name = f"{key}[{number}]"
        if not isinstance(row, Mapping):
            wrong(name, row, "a table with from and to", problems)
            continue
        for unknown in set(row) - {"from", "to"}:
            problems.add(key, f"{name}: unknown key {unknown!r}{near(unknown, ('from', 'to'))}")
        source, target = row.get("from"), row.get("to")
        if not isinstance(source, str) or not isinstance(target, str) or not source:
            problems.add(key, f"{name} needs two strings, from and to")
        elif problem := _not_a_place(source, target):
            problems.add(key, f"{name}: {problem}")
        else:
            rows.append(FileCopy(source=source, target=target))
    return tuple(rows)


def _healthcheck(key: str, value: object, problems: Problems) -> Healthcheck | None:
    test = read_texts(key, value, problems)
    return Healthcheck(test=("CMD", *test)) if test else None


def _app(text: str) -> str:
    if text not in ("auto", "wheel", "copy", "none"):
        raise ValueError(f'must be "auto", "wheel", "copy" or "none", not {text!r}')
    return text


def _compression(text: str) -> str:
    if text not in ("gzip", "zstd"):
        raise ValueError(f'must be "gzip" or "zstd", not {text!r}')
    return text


def _debian(key: str, value: object, problems: Problems) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        wrong(key, value, "a table", problems)
        return None
    fields = {
        "mirror": "debian_mirror",
        "security-mirror": "debian_security_mirror",
        "snapshot": "debian_snapshot",
    }
    out = {}
    for name, row in cast("Mapping[str, object]", value).items():
        if name not in fields:
            problems.unknown(f"{key}.{name}", fields)
        elif (text := read_text(f"{key}.{name}", row, problems)) is not None:
            out[fields[name]] = text
            if name == "snapshot" and not ("{archive}" in text and "{timestamp}" in text):
                problems.add(
                    f"{key}.{name}", f"{key}.{name} must be an address with {{archive}} and {{timestamp}} in it"
                )
    return out


def _check(key: str, value: object, problems: Problems) -> dict[str, tuple[str, ...]] | None:
    # The rules are imported by those who name some.
    from dpbuild.stages.proof.prove import selector

    def chosen(word: str) -> str:
        try:
            return selector(word)
        except ValueError:
            problems.hints.append("dpbuild explain lists all rules")
            raise

    if not isinstance(value, Mapping):
        wrong(key, value, "a table", problems)
        return None
    fields = {"select": "check_select", "ignore": "check_ignore"}
    out = {}
    for name, row in cast("Mapping[str, object]", value).items():
        if name not in fields:
            problems.unknown(f"{key}.{name}", fields)
        else:
            out[fields[name]] = each(chosen)(f"{key}.{name}", row, problems)
    return out


def _recipes(key: str, value: object, problems: Problems) -> tuple[Recipe, ...] | None:
    if not isinstance(value, Mapping):
        wrong(key, value, "a table", problems)
        return None
    rows = []
    for name, table in cast("Mapping[str, object]", value).items():
        if isinstance(table, Mapping):
            rows.append(recipes.override(_group(name), table, problems, f"{key}.{name}"))
        else:
            wrong(f"{key}.{name}", table, "a table", problems)
    return tuple(sorted(rows, key=lambda row: row.name))


def _verify(key: str, value: object, problems: Problems) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        wrong(key, value, "a table", problems)
        return None
    for name in value:
        if name != "base-key":
            problems.unknown(f"{key}.{name}", ("base-key",))
    text = read_text(f"{key}.base-key", value.get("base-key", ""), problems)
    return None if text is None else {"base_key": text}


# Key: the field of Config ("" for several), and what reads it.
_KEYS: dict[str, tuple[str, Callable[[str, object, Problems], Any]]] = {
    "base": ("base", parsed(_base)),
    "platforms": ("platforms", each(_platform)),
    "tags": ("tags", each(_tag)),
    "extras": ("extras", each(_group)),
    "groups": ("groups", each(_group)),
    "entrypoint": ("entrypoint", read_texts),
    "script": ("script", read_text),
    "cmd": ("cmd", read_texts),
    "env": ("env", read_pairs),
    "labels": ("labels", read_pairs),
    "annotations": ("annotations", read_pairs),
    "user": ("user", read_text),
    "workdir": ("workdir", parsed(_absolute)),
    "expose": ("expose", _expose),
    "volumes": ("volumes", each(_absolute)),
    "stop-signal": ("stop_signal", parsed(_signal)),
    "healthcheck": ("healthcheck", _healthcheck),
    "app": ("app", parsed(_app)),
    "include": ("include", read_texts),
    "exclude": ("exclude", read_texts),
    "files": ("files", _files),
    "ca-certificates": ("ca_certificates", read_texts),
    "bytecode": ("bytecode", read_flag),
    "compression": ("compression", parsed(_compression)),
    "find-links": ("find_links", read_texts),
    "no-binary": ("no_binary", each(_project_pattern)),
    "only-binary": ("only_binary", each(_project_pattern)),
    "check": ("", _check),
    "runtime-packages": ("runtime_packages", recipes.read_packages),
    "recipes": ("recipes", _recipes),
    "debian": ("", _debian),
    "evidence": ("evidence", read_flag),
    "verify": ("", _verify),
    "builder": ("builder", settings_builder.read),
}

KEYS = tuple(_KEYS)
