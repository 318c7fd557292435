"""``dpbuild check`` and the proof of every build: an image, its files, and the rules.

The rules are imported when an image has to be looked at, which is seldom after an edit.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from dpbuild import __version__
from dpbuild.errors import BaseImageError, FindingsError
from dpbuild.model.facts import Facts
from dpbuild.model.finding import Finding, Severity
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor, Pairs
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.libraries import LibraryIndex
from dpbuild.ports.store import Store
from dpbuild.ports.world import World
from dpbuild.stages.base import fetcher
from dpbuild.stages.contents import LayerContents, opened
from dpbuild.stages.open_image import OpenImage, open_image
from dpbuild.stages.proof.likeness import likeness
from dpbuild.stages.proof.scans import merged, scan_layers
from dpbuild.stages.proof.told import Sources

if TYPE_CHECKING:
    from dpbuild.stages.proof.scan import LayerScan
    from dpbuild.stages.proof.subject import Subject

# Part of the key of what is kept: whoever changes a rule changes this.
FORMAT: Final = 20


def check(reference: Reference, platform: Platform, world: World) -> tuple[OpenImage, tuple[Finding, ...]]:
    """All findings for one platform of an image. Raises BaseImageError and what the source raises."""
    source = world.source(reference, (platform,))
    image = open_image(reference, source, platform, world.store)
    key = _key(image.manifest.layers, image.manifest.config, image.manifest.annotations)
    found = _kept(world.store, key)
    if found is None:
        subject = open_subject(
            image.manifest.layers,
            image.config,
            platform,
            world.store,
            fetcher(source, world.store, world.reporter),
            annotations=image.manifest.annotations,
            libraries=(names := Names(world.libraries)),
            take_inventory=False,
        )
        with world.reporter.step("checking"):
            from dpbuild.stages.proof.prove import prove

            found = prove(subject)
        if names.told:
            _keep(world.store, key, found)
    return image, found


def proof(
    layers: tuple[Descriptor, ...],
    descriptor: Descriptor,
    config: ImageConfig,
    platform: Platform,
    facts: Facts,
    store: Store,
    fetch: Callable[[Descriptor], object],
    libraries: Callable[[Facts], LibraryIndex | None],
) -> tuple[Finding, ...]:
    """All findings for an image that was just made; ``descriptor`` is its config's."""
    key = _key(layers, descriptor)
    found = _kept(store, key)
    if found is not None:
        return found
    paths, alike = _alike(layers, config, store, fetch)
    found = _kept(store, alike) if alike else None
    if found is None:
        names = Names(libraries)
        from dpbuild.stages.proof.prove import prove

        found = prove(open_subject(layers, config, platform, store, fetch, facts=facts, libraries=names))
        if not names.told:
            return found
        # Findings in the app tell lines, which the next edit may move.
        if alike and not any(row.path in paths for row in found):
            _keep(store, alike, found)
    _keep(store, key, found)
    return found


def _alike(
    layers: tuple[Descriptor, ...], config: ImageConfig, store: Store, fetch: Callable[[Descriptor], object]
) -> tuple[frozenset[str], str]:
    """The paths of the uppermost layer, and the key of all images that are alike to every rule; "" for none."""
    top = scan_layers(layers[-1:], config.diff_ids[-1:], store, fetch)[0]
    if not store.has(layers[-1].digest):
        fetch(layers[-1])
    name = _sources_key(layers[:-1], top)
    sources = Sources(store.get("facts", name))
    with opened(store, layers[-1]) as blob:
        found = likeness(layers[:-1], config, top, layers[-1], blob, sources)
    if found is not None and (told := sources.kept()) is not None:
        store.put("facts", name, told)
    key = f"alike-{found}-{FORMAT}-{__version__}" if found else ""
    return frozenset(f"/{entry.path}" for entry in top.entries), key


def _sources_key(below: tuple[Descriptor, ...], top: LayerScan) -> str:
    """That of what the sources of one app tell, by the names of its files: an edit does not change it.

    It is what this version of Python reads.
    """
    parts = [FORMAT, __version__, sys.version, *(str(row.digest) for row in below), *(row.path for row in top.entries)]
    return f"sources-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


class Names:
    """The packages that have missing libraries, asked for when there are such. ``told`` says that the index was
    there when it was needed: what was found without it is not kept.
    """

    def __init__(self, libraries: Callable[[Facts], LibraryIndex | None]) -> None:
        self._libraries = libraries
        self.told = True

    def find(self, facts: Facts, names: frozenset[str]) -> dict[str, str]:
        """The package of each library that one is known to have."""
        index = self._libraries(facts)
        if index is None:
            return {}
        found = index.packages(names)
        self.told = self.told and found is not None
        return found or {}


def refuse(findings: tuple[Finding, ...], platform: Platform) -> tuple[str, ...]:
    """The warnings, each with its mend; an error among the findings ends the build. Raises FindingsError."""
    errors = [row for row in findings if row.severity is Severity.ERROR]
    if errors:
        rows = "".join(f"\n  {line}\n      fix: {row.fix}" for line, row in _gathered(errors))
        raise FindingsError(
            f"the image for {platform} would not work, so nothing was written:{rows}",
            hint="dpbuild explain RULE tells more; ignore in [tool.dpbuild.check] leaves a rule out",
        )
    warnings = (row for row in findings if row.severity is Severity.WARNING)
    return tuple(f"{line}\n      fix: {row.fix}" for line, row in _gathered(warnings))


def _gathered(findings: Iterable[Finding]) -> Iterator[tuple[str, Finding]]:
    """A line for each finding; files of one package with the same thing wrong share a line."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for row in findings:
        groups.setdefault((row.rule, row.owner, row.evidence), []).append(row)
    for (rule, owner, evidence), rows in groups.items():
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        yield f"{rule} {rows[0].path}{more}{f' ({owner})' if owner else ''}: {evidence}", rows[0]


def open_subject(
    layers: tuple[Descriptor, ...],
    config: ImageConfig,
    platform: Platform,
    store: Store,
    fetch: Callable[[Descriptor], object],
    *,
    annotations: Pairs = (),
    facts: Facts | None = None,
    libraries: Names | None = None,
    take_inventory: bool = True,
) -> Subject:
    """The image for the rules; ``facts`` where they are known already. Raises BaseImageError."""
    scans, tree = merged(layers, config.diff_ids, store, fetch, take_inventory=take_inventory)
    contents = LayerContents(tree, layers, store, fetch)
    trouble = ""
    if facts is None:
        try:
            from dpbuild.stages.facts import read_facts

            facts = read_facts(tree, contents, config, platform, annotations)
        except BaseImageError as problem:
            # What is wrong with the interpreter is a finding here, not the end.
            trouble = problem.what
    known = facts

    def providers(names: frozenset[str]) -> dict[str, str]:
        return libraries.find(known, names) if libraries is not None and known is not None else {}

    from dpbuild.stages.proof.subject import Subject

    return Subject(
        platform=platform,
        config=config,
        layers=layers,
        tree=tree,
        scans=scans,
        contents=contents,
        facts=facts,
        trouble=trouble,
        providers=providers,
        store=store,
    )


def _key(layers: tuple[Descriptor, ...], config: Descriptor, annotations: Pairs = ()) -> str:
    value = [FORMAT, __version__, [str(row.digest) for row in layers], str(config.digest), *map(list, annotations)]
    return "proof-" + hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _keep(store: Store, key: str, findings: tuple[Finding, ...]) -> None:
    rows = [[row.rule, str(row.severity), row.path, row.evidence, row.owner, row.fix] for row in findings]
    store.put("facts", key, json.dumps(rows).encode())


def _kept(store: Store, key: str) -> tuple[Finding, ...] | None:
    data = store.get("facts", key)
    if data is None:
        return None
    try:
        return tuple(
            Finding(rule=rule, severity=Severity(severity), path=path, evidence=evidence, owner=owner, fix=fix)
            for rule, severity, path, evidence, owner, fix in json.loads(data)
        )
    except (ValueError, TypeError):
        return None
