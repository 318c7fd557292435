"""Which files of a lock are for a base: as they were chosen before, while lock and base are the same.

Tags, markers and names of files are understood by ``packaging``, which takes longer to import than a build takes that
finds the rest.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

import packaging

from dpbuild import __version__
from dpbuild.frozen import replace
from dpbuild.model.base import Base
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.oci.codec import canonical
from dpbuild.ports.store import Store
from dpbuild.stages import base as base_stage
from dpbuild.stages import lockfile

Chosen = tuple[tuple[LockedPackage, LockedFile], ...]

_KIND: Final = "facts"
# Part of the key: whoever changes how files are chosen, or what is kept of it, changes this.
_FORMAT: Final = 1


def choose(lock: Lock, text: str, base: Base, no_binary: Sequence[str], store: Store) -> Chosen:
    """The file of each package of ``lock``, whose text is ``text``, that is for ``base``; projects in ``no_binary``
    come as an sdist. Sorted by name. Raises as ``target`` and ``select`` do.
    """
    key = _key(text, base, no_binary)
    kept = store.get(_KIND, key)
    if kept is not None:
        return _decode(kept, lock.packages)
    from dpbuild.stages.select import ANY, select
    from dpbuild.stages.target import target

    goal = target(base.facts, base.platform)
    chosen = select(lock.packages, goal, allow_sdist=ANY, no_binary=no_binary, where=lockfile.NAME)
    store.put(_KIND, key, _encode(chosen, lock.packages))
    return chosen


def _key(text: str, base: Base, no_binary: Sequence[str]) -> str:
    # The facts are those of the manifest, as this version of the base stage finds them.
    facts = [base_stage.FORMAT, str(base.descriptor.digest), str(base.platform)]
    versions = [_FORMAT, __version__, packaging.__version__]
    parts = [versions, facts, list(no_binary), hashlib.sha256(text.encode()).hexdigest()]
    return f"chosen-{hashlib.sha256(canonical(parts)).hexdigest()}"


def _encode(chosen: Chosen, packages: Sequence[LockedPackage]) -> bytes:
    """Where in the lock they are, and their versions, which the lock may not say."""
    rows = []
    for package, file in chosen:
        number = next(
            number
            for number, row in enumerate(packages)
            if row.name == package.name and replace(row, version=package.version) == package
        )
        rows.append([number, _files(packages[number]).index(file), package.version])
    return canonical(rows)


def _decode(data: bytes, packages: Sequence[LockedPackage]) -> Chosen:
    return tuple(
        (packages[number] if packages[number].version else replace(packages[number], version=version), file)
        for number, place, version in json.loads(data)
        if (file := _files(packages[number])[place]) is not None
    )


def _files(package: LockedPackage) -> tuple[LockedFile | None, ...]:
    return (package.sdist, *package.wheels)
