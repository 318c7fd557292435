"""A build of what was built before: known by what was read then, without any of the stages.

What a build read of the project is kept with the images that it made. If flags and versions are the same, and so is,
by content, everything that was read, then so are the images; what is left is to see that they are where they should be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from dpbuild import __version__
from dpbuild.built import DEFAULT_OUTPUT, BuildOptions, Built, summary
from dpbuild.errors import DigestDrift, UsageError
from dpbuild.frozen import asdict
from dpbuild.model.image import DOCUMENTS, Document, Image, Images, Referrer
from dpbuild.oci.codec import decode, decode_descriptor, encode_descriptor
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse, parse_registry

if TYPE_CHECKING:
    from dpbuild.ports.project import ProjectFolder
    from dpbuild.ports.store import Store
    from dpbuild.ports.world import World


# Part of the key of what is kept: whoever changes what is kept, or what images depend on, changes this.
_FORMAT: Final = 8
_KIND: Final = "images"
# Bytes of the mark by which what is no JSON belongs to what is. It is kept apart and as it is, not to be encoded,
# searched for quotes and decoded, and not even read where something has changed.
_MARK: Final = 32
# Bytes of evidence from which on it is not kept here: an SBOM has megabytes, and is seldom asked for. It may be among
# the documents; what is not is made again, by building anew of what is kept.
_LARGE: Final = 256 << 10


class _Gone(Exception):
    """A layer or document is wanted that the store does not have."""


def build(project: ProjectFolder, flags: Mapping[str, object], options: BuildOptions, world: World) -> Built:
    """As ``pipeline.build``, which is not even imported where nothing has changed."""
    key = _key(project, flags, options, world)
    # Evidence that is asked for as such is made, it is not kept; and only a key that opens signs.
    found = None if options.sbom or options.sign_key or options.sign_keyless else _recall(project, key, world)
    if found is not None:
        try:
            return _again(found, project, options, world)
        except _Gone:
            pass
    from dpbuild.pipeline import build as build_anew

    built = build_anew(project, flags, options, world)
    if options.sign_key or options.sign_keyless:
        return built
    if any(row.kind == "oci" for row in built.written):
        # A layout is looked at file by file, a registry by one request.
        _keep_documents(built.images, world.store)
    rest = _Bytes()
    value = {
        "seen": project.seen(),
        "tags": [str(tag) for tag in built.tags],
        "warnings": built.warnings,
        "notes": built.notes,
        "images": _encode(built.images, rest),
    }
    world.store.put(_KIND, _rest(key), rest.behind(_mark(value["images"])))
    world.store.put(_KIND, key, json.dumps(value).encode())
    return built


def _key(project: ProjectFolder, flags: Mapping[str, object], options: BuildOptions, world: World) -> str:
    """What images depend on besides the project's files. Where they go is no part of it."""
    rest = {**asdict(options), "push": False, "load": False, "outputs": (), "expect_digest": ""}
    value = [_FORMAT, __version__, project.directory, dict(flags), rest, str(world.host)]
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _rest(key: str) -> str:
    return f"{key}-rest"


def _mark(images: object) -> bytes:
    """Of what names all bytes by their digests and places: two runs at once may each write a half."""
    return hashlib.sha256(json.dumps(images).encode()).digest()


def _recall(project: ProjectFolder, key: str, world: World) -> dict[str, Any] | None:
    # A store is made by who puts something into it, not by a project whose configuration may be wrong.
    data = world.store.get(_KIND, key) if world.has_store else None
    if data is None:
        return None
    value: dict[str, Any] = json.loads(data)
    if not project.still(value["seen"]):
        return None
    rest = world.store.get(_KIND, _rest(key))
    if rest is None or rest[:_MARK] != _mark(value["images"]):
        return None
    value["images"] = _decode(value["images"], memoryview(rest)[_MARK:], lambda digest: _document(world.store, digest))
    return value


def _again(found: dict[str, Any], project: ProjectFolder, options: BuildOptions, world: World) -> Built:
    """Bring what was made before to where it should be. Raises _Gone and what the destinations raise."""
    started = world.clock()
    tags = tuple(parse_registry(text) for text in found["tags"])
    if options.push and not tags:
        raise UsageError("--push needs a tag", hint="name one with -t, or in tags of [tool.dpbuild]")
    images: Images = found["images"]
    if options.expect_digest and options.expect_digest != str(images.descriptor.digest):
        raise DigestDrift(f"the image is {images.descriptor.digest}, expected was {options.expect_digest}")

    def blob(layer: Descriptor) -> BinaryIO:
        try:
            return world.store.open(layer.digest)
        except KeyError:
            raise _Gone from None

    outputs = options.outputs or (() if options.push or options.load else (f"{project.directory}/{DEFAULT_OUTPUT}",))
    sinks = world.sinks(tags, blob, push=options.push, load=options.load, outputs=outputs)
    for sink in sinks:
        sink.check(images)
    written = tuple(sink.write(images) for sink in sinks)
    if outputs and not options.outputs:
        project.shelter()
    for note in (*found["seen"]["notes"], *found["notes"]):
        world.reporter.note(note)
    for row in found["warnings"]:
        world.reporter.warning(row)
    world.reporter.result("nothing has changed since the last build")
    kept = [len(image.manifest.layers) - image.base_layers for image in images.images]
    summary(images, kept, written, world.reporter, world.clock() - started)
    warnings, notes = tuple(found["warnings"]), tuple(found["notes"])
    return Built(images=images, written=written, tags=tags, warnings=warnings, notes=notes)


class _Bytes:
    """Bytes that are kept beside the JSON, and named there by offset and length."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, data: bytes) -> tuple[int, int]:
        """Put it last; where it is."""
        place = self._length, len(data)
        self._parts.append(data)
        self._length += len(data)
        return place

    def behind(self, head: bytes) -> bytes:
        """All of it."""
        return b"".join([head, *self._parts])


def _encode(images: Images, rest: _Bytes) -> dict[str, Any]:
    return {
        "descriptor": encode_descriptor(images.descriptor),
        "index": rest.add(images.index_bytes),
        "images": [
            {
                "platform": str(row.platform),
                "descriptor": encode_descriptor(row.descriptor),
                "manifest": rest.add(row.manifest_bytes),
                "config": rest.add(row.config_bytes),
                "base": str(row.base),
                "base_layers": row.base_layers,
            }
            for row in images.images
        ],
        "referrers": [
            {
                "subject": encode_descriptor(row.subject),
                "descriptor": encode_descriptor(row.descriptor),
                "manifest": rest.add(row.manifest_bytes),
                "blobs": [
                    [
                        encode_descriptor(each.descriptor),
                        rest.add(each.read()) if each.descriptor.size < _LARGE else None,
                    ]
                    for each in row.blobs
                ],
            }
            for row in images.referrers
        ],
    }


def _keep_documents(images: Images, store: Store) -> None:
    """What is large and was not made, but made of another, is nowhere yet."""
    for row in (each for referrer in images.referrers for each in referrer.blobs):
        name = row.descriptor.digest.hex
        if row.descriptor.size >= _LARGE and store.get(DOCUMENTS, name) is None:
            store.put(DOCUMENTS, name, row.read())


def _document(store: Store, digest: Digest) -> bytes:
    data = store.get(DOCUMENTS, digest.hex)
    if data is None:
        raise _Gone
    return data


def _decode(value: dict[str, Any], rest: memoryview, large: Callable[[Digest], bytes]) -> Images:
    """``large`` gives the bytes of a document that is not in ``rest``."""

    def part(place: tuple[int, int]) -> bytes:
        start, size = place
        return bytes(rest[start : start + size])

    def document(blob: Any, place: tuple[int, int] | None) -> Document:
        row = decode_descriptor(blob, "descriptor")
        return Document(descriptor=row, data=partial(large, row.digest) if place is None else part(place))

    images = []
    for row in value["images"]:
        descriptor, data = decode_descriptor(row["descriptor"], "descriptor"), part(row["manifest"])
        # Only images are kept; what is decoded for an index would be none.
        images.append(
            Image(
                platform=Platform.parse(row["platform"]),
                descriptor=descriptor,
                manifest=cast("Manifest", decode(data, descriptor.media_type)),
                manifest_bytes=data,
                config_bytes=part(row["config"]),
                base=parse(row["base"]),
                base_layers=row["base_layers"],
            )
        )
    referrers = (
        Referrer(
            subject=decode_descriptor(row["subject"], "descriptor"),
            descriptor=decode_descriptor(row["descriptor"], "descriptor"),
            manifest_bytes=part(row["manifest"]),
            blobs=tuple(document(blob, place) for blob, place in row["blobs"]),
        )
        for row in value["referrers"]
    )
    return Images(
        descriptor=decode_descriptor(value["descriptor"], "descriptor"),
        images=tuple(images),
        index_bytes=part(value["index"]),
        referrers=tuple(referrers),
    )
