"""From a reference to a base: manifest, config, files and facts.

Layers are kept in the store by digest, files and facts under the manifest's digest: a base that was read once
is not read again, and its layers are not even needed here.
"""

import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import BinaryIO, Final, TypeVar

from dpbuild.archive.budget import Budget
from dpbuild.archive.entry import Entry
from dpbuild.archive.overlay import FileTree, OverlayError
from dpbuild.errors import BaseImageError, HashMismatch
from dpbuild.model.base import Base
from dpbuild.model.facts import Facts
from dpbuild.model.words import counted
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.reporter import Reporter, Step
from dpbuild.ports.source import ImageSource
from dpbuild.ports.store import Store
from dpbuild.stages import facts_codec
from dpbuild.stages.contents import LayerContents, read_layer
from dpbuild.stages.open_image import open_image

# Part of the key of what is kept: whoever changes what is made from a base changes this.
FORMAT: Final = "6"
_THREADS: Final = 4
# Bytes of files that are taken along.
_TAKEN: Final = 128 << 20

# Is told of layers, and their diffIDs.
Fetched = Callable[[tuple[Descriptor, ...], tuple[Digest, ...]], object]

T = TypeVar("T")
R = TypeVar("R")


def read_base(
    reference: Reference,
    source: ImageSource,
    platform: Platform,
    store: Store,
    reporter: Reporter,
    fetched: Fetched = lambda layers, diff_ids: None,
) -> Base:
    """The base that ``reference`` names, for one platform, with its files and facts.

    ``fetched`` is told the layers and their diffIDs where they have to be read, when they are in the store.

    Raises BaseImageError, StoreError, and whatever the source raises for what it cannot get.
    """
    image = open_image(reference, source, platform, store)
    kept = _kept(store, image.descriptor.digest)
    if kept is None:
        from dpbuild.stages.facts import early, read_facts

        layers = image.manifest.layers
        with _at(str(reference)):
            fetch_layers(source, layers, store, reporter, "fetching the base")
            fetched(layers, image.config.diff_ids)
            with reporter.step("reading the base") as step:
                tree, known = read_tree(layers, image.config, store, early)
                contents = LayerContents(tree, layers, store, known=known)
                facts = read_facts(tree, contents, image.config, platform, image.manifest.annotations)
                step.done(f"Python {facts.version}, {facts.libc}, {facts.machine}")
        _keep(store, image.descriptor.digest, facts, tree)
    else:
        facts, tree = kept
    return Base(
        reference=reference,
        root=image.root,
        descriptor=image.descriptor,
        platform=platform,
        manifest=image.manifest,
        config=image.config,
        facts=facts,
        tree=tree,
    )


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """Errors that name a digest or a path in the image also name the image."""
    try:
        yield
    except BaseImageError as problem:
        if problem.where != where:
            inner = "" if problem.where is None else f" (in {problem.where})"
            raise BaseImageError(problem.what + inner, where=where, hint=problem.hint) from None
        raise


def fetch_layers(
    source: ImageSource,
    layers: tuple[Descriptor, ...],
    store: Store,
    reporter: Reporter,
    title: str = "fetching the image",
) -> int:
    """Bring the layers into the store that are not there, several at a time; returns the bytes that moved.

    Raises BaseImageError for a layer that is not what its digest says, StoreError, and the source's errors.
    """
    missing = [row for row in dict.fromkeys(layers) if not _present(store, row.digest)]
    if not missing:
        return 0
    total = sum(row.size for row in missing)
    with reporter.step(title, total) as step:
        _parallel(lambda row: _fetch(source, row, store, step), missing)
        step.done(counted(len(missing), "layer"))
    return total


def fetcher(source: ImageSource, store: Store, reporter: Reporter) -> Callable[[Descriptor], object]:
    """What brings one layer of the source's image into the store, if it is not there."""
    return lambda layer: fetch_layers(source, (layer,), store, reporter)


def _present(store: Store, digest: Digest) -> bool:
    """Whether the blob is here and whole; a damaged one is discarded and fetched again."""
    try:
        store.open(digest).close()
    except KeyError:
        return False
    return True


def _parallel(work: Callable[[T], R], items: list[T]) -> list[R]:
    """The results in order; the first error ends what has not begun."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done() and (problem := future.exception()) is not None:
                    raise problem
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(source: ImageSource, layer: Descriptor, store: Store, step: Step) -> None:
    with store.alone("fetch", layer.digest.hex):
        # Another run may have brought it meanwhile.
        if store.has(layer.digest):
            step.advance(layer.size)
        else:
            _bring(source, layer, store, step)


def _bring(source: ImageSource, layer: Descriptor, store: Store, step: Step) -> None:
    size = 0
    with store.writer() as writer:
        for chunk in source.blob(layer):
            size += len(chunk)
            if size > layer.size:
                break
            writer.write(chunk)
            step.advance(len(chunk))
        if size != layer.size:
            more = "more" if size > layer.size else "fewer"
            raise BaseImageError(
                f"a layer has {more} than the {layer.size} bytes that its manifest says", where=str(layer.digest)
            )
        try:
            writer.commit(layer.digest)
        except HashMismatch as problem:
            raise BaseImageError(
                f"a layer is not what its digest says: {problem.what}", where=str(layer.digest)
            ) from None


def read_tree(
    layers: tuple[Descriptor, ...],
    config: ImageConfig,
    store: Store,
    wanted: Callable[[str], bool] = lambda path: False,
) -> tuple[FileTree, dict[tuple[int, int], bytes]]:
    """The files that the layers make; they are in the store, and each must have the config's diffID.

    With the contents of files whose path in a layer is ``wanted``, as far as there is room for them, by the number of
    the layer and that of the entry in its tar. Raises BaseImageError.
    """
    total = sum(layer.size for layer in layers)
    budget = Budget(total)
    known: dict[tuple[int, int], bytes] = {}

    def read(number: int) -> list[Entry]:
        def take(rows: Iterator[tuple[Entry, BinaryIO | None]]) -> list[Entry]:
            found: list[Entry] = []
            # Each layer its share: which files are taken does not depend on which thread comes first.
            left = _TAKEN * layers[number].size // total
            for entry, content in rows:
                if content is not None and 0 < entry.size <= left and wanted(entry.path):
                    known[number, len(found)] = content.read()
                    left -= entry.size
                found.append(entry)
            return found

        return read_layer(layers[number], store, take, diff_id=config.diff_ids[number], budget=budget)

    rows = _parallel(read, list(range(len(layers))))
    try:
        return FileTree.of(rows), known
    except OverlayError as problem:
        raise BaseImageError(f"the layers do not fit on each other: {problem}") from None


def _key(digest: Digest) -> str:
    return f"{digest.hex}-{FORMAT}"


def _keep(store: Store, digest: Digest, facts: Facts, tree: FileTree) -> None:
    head = json.dumps(facts_codec.encode(facts), sort_keys=True).encode()
    store.put("facts", _key(digest), struct.pack(">I", len(head)) + head + tree.to_bytes())


def _kept(store: Store, digest: Digest) -> tuple[Facts, FileTree] | None:
    """What an earlier run found; None if there is nothing, or nothing that this version reads."""
    data = store.get("facts", _key(digest))
    if data is None or len(data) < 4:
        return None
    end = 4 + int(struct.unpack_from(">I", data)[0])
    try:
        return facts_codec.decode(json.loads(data[4:end])), FileTree.from_bytes(data[end:])
    except ValueError:
        return None
