"""What an installed distribution executes when it is imported: found out once for the layers that have its sources.

With another version of one package all others are the same, and some have thousands of sources.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Final

from dpbuild import __version__
from dpbuild.ports.store import Store
from dpbuild.stages.proof.reach import Modules
from dpbuild.stages.proof.subject import Subject

# Part of the key of what is kept: whoever changes how imports are followed changes this.
FORMAT: Final = 3
_KIND: Final = "facts"


def executed(
    subject: Subject,
    modules: Modules,
    roots: tuple[str, ...],
    paths: frozenset[str],
    site: str,
    files: frozenset[str],
) -> frozenset[str]:
    """As ``Modules.executed``."""

    def find() -> frozenset[str]:
        return modules.executed(roots, paths, site, files)

    asked = [sorted(roots), sorted(paths)]
    return _once(subject.store, _key(subject, asked, site, files), find) if subject.store is not None else find()


def _once(store: Store, key: str, find: Callable[[], frozenset[str]]) -> frozenset[str]:
    if not key:
        return find()
    kept = store.get(_KIND, key)
    if kept is not None:
        return frozenset(json.loads(kept))
    found = find()
    store.put(_KIND, key, json.dumps(sorted(found)).encode())
    return found


def _key(subject: Subject, asked: object, site: str, files: frozenset[str]) -> str:
    """That of all images for which the answer is the same; "" where it depends on what else the image has."""
    if subject.facts is None or not all(map(subject.tree.is_file, files)):
        return ""
    origins = {path: subject.tree.origin(path) for path in files}
    # Those of a large wheel are in several.
    layers = sorted({layer for layer, _ in origins.values()})
    if not _alone(subject, site, files):
        return ""
    numbers = sorted((path, layers.index(layer), number) for path, (layer, number) in origins.items())
    parts = [
        FORMAT,
        __version__,
        sys.version,
        subject.facts.extension_suffixes,
        [str(subject.layers[layer].digest) for layer in layers],
        site,
        asked,
        numbers,
    ]
    return f"executed-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _alone(subject: Subject, site: str, files: frozenset[str]) -> bool:
    """Whether each module of these is what is found by its name, whatever else the image has.

    No other folder of ``sys.path`` has a module, or a part of a package, of the same name; the site directory is not
    found under another name before; and no package, from whichever layer, comes before a module.
    """
    here = subject.real(site)
    found = {row: real for row in subject.sys_path if (real := subject.real(row)) is not None}
    if next((row for row, real in found.items() if real == here), "") != site:
        return False
    if any(subject.tree.is_directory(path.removesuffix(".py")) for path in files):
        return False
    names = {path[len(site) + 1 :].partition("/")[0].partition(".")[0] for path in files}
    others = {real for real in found.values() if real != here}
    return not any(name.partition(".")[0] in names for row in others for name in subject.tree.children(row))
