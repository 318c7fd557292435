"""``pylock.dpbuild.toml``: the lock as a file. What dpbuild adds stands in ``[tool.dpbuild]`` only."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Final

from dpbuild.errors import LockError
from dpbuild.model.lock import Inputs, Lock, LockedBase, LockedRuntime
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store
from dpbuild.pypa import pylock
from dpbuild.pypa.pylock import Document, LockedPackage, Reader
from dpbuild.stages import toml

NAME: Final = "pylock.dpbuild.toml"
# Raise this when a lock written before cannot be used any more.
VERSION: Final = 1
# What makes a lock; the first one unless it says otherwise.
RESOLVERS: Final = ("uv", "pip-tools")
# Name, version and sha256 of a .deb.
Pins = tuple[tuple[str, str, str], ...]
_USER: Final = r"(?i)[a-z][a-z0-9+.-]*://[^/?#]*@"
# The same anywhere in a lock, which is a long text: what begins it is looked for fastest.
_LOGIN: Final = r"://[^/?#\s]*@"


def inputs_hash(values: Inputs) -> str:
    """The hash that stands in the lock for everything that decides it."""
    text = json.dumps([VERSION, [[key, list(rows)] for key, rows in values]], ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def dumps(lock: Lock) -> str:
    """The text of the lock, the same bytes for equal locks. Raises LockError for URLs with user information."""
    without_user(lock.packages, None)
    own: dict[str, object] = {"lock-version": VERSION, "inputs-hash": lock.inputs, "platforms": lock.platforms}
    # Left out where it is the usual one: the same packages give the same bytes.
    own |= {} if lock.resolver == RESOLVERS[0] else {"resolver": lock.resolver}
    own["inputs"] = {key: rows for key, rows in lock.input_values if rows}
    if lock.base_reference:
        base: dict[str, object] = {"reference": lock.base_reference, "digest": lock.base_digest}
        base |= {"date": lock.base_date} if lock.base_date else {}
        base["platforms"] = [_base_row(row) for row in lock.bases]
        own["base"] = base
    if lock.runtime:
        own["runtime-packages"] = [_runtime_row(row) for row in lock.runtime]
    return "# Made by dpbuild. Do not edit; `dpbuild lock` writes it again.\n" + pylock.dumps(
        Document(
            packages=lock.packages,
            requires_python=lock.requires_python,
            environments=lock.environments,
            tool={"dpbuild": own},
        )
    )


def _base_row(base: LockedBase) -> dict[str, object]:
    row: dict[str, object] = {"platform": base.platform, "digest": base.digest}
    if base.packages:
        row["packages"] = _pin_rows(base.packages)
    return {**row, "facts": dict(base.facts)}


def _runtime_row(runtime: LockedRuntime) -> dict[str, object]:
    row: dict[str, object] = {"platform": runtime.platform, "wanted": runtime.wanted}
    row |= {"without": runtime.without} if runtime.without else {}
    row |= {"date": runtime.date} if runtime.date else {}
    return {**row, "packages": _pin_rows(runtime.packages)}


def _pin_rows(pins: Pins) -> list[dict[str, str]]:
    return [{"name": name, "version": version, "sha256": sha} for name, version, sha in pins]


def loads(text: str, where: str = NAME, store: Store | None = None) -> Lock:
    """Read a lock that dpbuild wrote; ``store`` may know its text. Raises LockError that names the key."""
    # One that holds a login is refused below, and the store must not get to know it before.
    known = None if re.search(_LOGIN, text) else store
    document = pylock.loads(text, where, lambda text: toml.loads(text, known))
    read = Reader(where)
    if "dpbuild" not in document.tool:
        raise LockError(
            "the lock was not made by dpbuild: it has no [tool.dpbuild]", where=where, hint="run dpbuild lock"
        )
    own = read.table(document.tool, "dpbuild", "tool")
    if own.get("lock-version") != VERSION:
        raise LockError(
            f"the lock has dpbuild's lock version {own.get('lock-version')!r}; this is {VERSION}",
            where=where,
            hint="run dpbuild lock",
        )
    path = "tool.dpbuild"
    resolver = read.text(own, "resolver", path, default=RESOLVERS[0])
    if resolver not in RESOLVERS:
        raise LockError(
            f"the lock was made by {resolver!r}, which this dpbuild does not have",
            where=where,
            hint=f"run dpbuild lock --resolver {RESOLVERS[0]}",
        )
    base = read.table(own, "base", path)
    inputs = read.table(own, "inputs", path)
    for number, package in enumerate(document.packages):
        for file in (*package.wheels, *([package.sdist] if package.sdist else [])):
            if not file.sha256:
                raise read.fail(
                    f"packages[{number}]", f"a package whose files have hashes.sha256 ({file.name} has none)"
                )
    without_user(document.packages, where)
    return Lock(
        requires_python=document.requires_python,
        environments=document.environments,
        packages=document.packages,
        platforms=read.texts(own, "platforms", path),
        inputs=read.text(own, "inputs-hash", path),
        input_values=tuple((key, read.texts(inputs, key, f"{path}.inputs")) for key in sorted(inputs)),
        base_reference=read.text(base, "reference", f"{path}.base", default=""),
        base_digest=read_digest(read, base, "digest", f"{path}.base", default=""),
        base_date=read.text(base, "date", f"{path}.base", default=""),
        bases=tuple(
            _base(read, row, f"{path}.base.platforms[{number}]")
            for number, row in enumerate(read.tables(base, "platforms", f"{path}.base"))
        ),
        runtime=tuple(
            _runtime(read, row, f"{path}.runtime-packages[{number}]")
            for number, row in enumerate(read.tables(own, "runtime-packages", path))
        ),
        resolver=resolver,
    )


def kept(text: str | None, note: Callable[[str], None], store: Store | None = None) -> Lock | None:
    """The lock that is there; None where there is none, or one that cannot be read, which is said. ``store`` may know
    its text.
    """
    if text is None:
        return None
    try:
        return loads(text, store=store)
    except LockError as problem:
        note(f"the lock that is there cannot be read and is made anew: {problem.what}")
        return None


def read_digest(read: Reader, table: pylock.Table, key: str, path: str, *, default: str | None = None) -> str:
    """A digest; required unless there is a default. Raises LockError."""
    text = read.text(table, key, path, default=default)
    try:
        return str(Digest.parse(text)) if text or default is None else ""
    except ValueError:
        raise read.fail(f"{path}.{key}", '"sha256:" and 64 hexadecimal digits') from None


def _base(read: Reader, row: pylock.Table, path: str) -> LockedBase:
    facts = read.table(row, "facts", path)
    return LockedBase(
        platform=read.text(row, "platform", path),
        digest=read_digest(read, row, "digest", path),
        facts=tuple((key, read.text(facts, key, f"{path}.facts")) for key in sorted(facts)),
        packages=_pins(read, row, path),
    )


def _runtime(read: Reader, row: pylock.Table, path: str) -> LockedRuntime:
    return LockedRuntime(
        platform=read.text(row, "platform", path),
        wanted=read.texts(row, "wanted", path),
        without=read.texts(row, "without", path),
        date=read.text(row, "date", path, default=""),
        packages=_pins(read, row, path),
    )


def _pins(read: Reader, row: pylock.Table, path: str) -> Pins:
    return tuple(
        (
            read.text(package, "name", f"{path}.packages[{number}]"),
            read.text(package, "version", f"{path}.packages[{number}]"),
            read.text(package, "sha256", f"{path}.packages[{number}]"),
        )
        for number, package in enumerate(read.tables(row, "packages", path))
    )


def without_user(packages: tuple[LockedPackage, ...], where: str | None) -> None:
    """That no URL holds a user or password. Raises LockError."""
    for package in packages:
        for file in (*package.wheels, *([package.sdist] if package.sdist else [])):
            if "@" in file.url and re.match(_USER, file.url):
                raise LockError(
                    f"the URL of {file.name} holds a user or password, which a lock must not",
                    where=where,
                    hint="give the index's credentials by netrc, keyring, or UV_INDEX_<NAME>_USERNAME and _PASSWORD",
                )
