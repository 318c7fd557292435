"""Images for rules, in memory: layers as dicts of paths, on a base that has nothing wrong with it."""

import io
from typing import Any

from factories.image import File, Files, Folder, Link, make_tar
from factories.python_image import PATH, TRIPLES, debian

from dpbuild.archive.read import entries, open_layer
from dpbuild.errors import BaseImageError
from dpbuild.model.finding import Finding
from dpbuild.oci import mediatype
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor, Pairs
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.stages.contents import MappedContents
from dpbuild.stages.facts import read_facts
from dpbuild.stages.proof.prove import prove
from dpbuild.stages.proof.scan import LayerScan, scan
from dpbuild.stages.proof.scans import tree_of
from dpbuild.stages.proof.subject import Subject

PYTHON = "/usr/bin/python3.13"
SITE = "usr/local/lib/python3.13/dist-packages"
STDLIB = "usr/lib/python3.13"
BASE_ENV = (PATH, "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "LANG=C.UTF-8")
_LARGEST = 1 << 30
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "arm": "arm"}


def base(machine: str = "x86_64") -> tuple[Files, ...]:
    """Python 3.13 on Debian 13 as distroless lays it out, with what the rules look at besides."""
    libraries = f"usr/lib/{TRIPLES[machine]}"
    return (
        {
            "etc/passwd": File(
                b"root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
                b"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
            ),
            "etc/group": File(b"root:x:0:\nstaff:x:50:\nnonroot:x:65532:\n"),
            "etc/ssl/certs/ca-certificates.crt": File(b"-----BEGIN CERTIFICATE-----\n"),
            "root": Folder(0o700),
            "home": Folder(),
            "home/nonroot": Folder(0o700, 65532, 65532),
            "tmp": Folder(0o1777),
            "usr/share/zoneinfo/UTC": File(b"TZif2"),
        },
        *debian(machine=machine),
        {
            f"{STDLIB}/queue.py": File(b""),
            f"{STDLIB}/random.py": File(b""),
            f"{STDLIB}/json/__init__.py": File(b""),
            "usr/bin/python": Link(PYTHON),
            f"{libraries}/libm.so.6": Link("libc.so.6"),
        },
    )


def make_subject(
    *layers: Files,
    below: tuple[Files, ...] | None = None,
    platform: str = "linux/amd64",
    annotations: Pairs = (("org.opencontainers.image.source", "https://example.org/base"),),
    **config: Any,
) -> Subject:
    """``layers`` over ``below`` (default: ``base()``); ``config`` are fields of ``ImageConfig`` over the base's."""
    words = Platform.parse(platform)
    under = base(_MACHINES[words.architecture]) if below is None else below
    tars = [make_tar(files) for files in (*under, *layers)]
    descriptors = tuple(
        Descriptor(media_type=mediatype.OCI_LAYER, digest=Digest.of(tar), size=len(tar)) for tar in tars
    )
    scans, contents = _read(tars)
    values = {
        "platform": words,
        "diff_ids": tuple(row.digest for row in descriptors),
        "user": "65532",
        "env": BASE_ENV,
        "entrypoint": (PYTHON,),
        "working_dir": "/home/nonroot",
    }
    image = ImageConfig(**(values | config))
    tree = tree_of(scans)
    files = MappedContents(tree, lambda path: contents[tree.origin(path)])
    facts, trouble = None, ""
    try:
        facts = read_facts(tree, files, image, words, annotations)
    except BaseImageError as problem:
        trouble = problem.what
    return Subject(
        platform=words,
        config=image,
        layers=descriptors,
        tree=tree,
        scans=scans,
        contents=files,
        facts=facts,
        trouble=trouble,
    )


def found(subject: Subject, *prefixes: str) -> tuple[Finding, ...]:
    """What the rules say of it; only of rules with one of these prefixes where some are given."""
    return tuple(row for row in prove(subject) if not prefixes or row.rule.startswith(prefixes))


def ids(subject: Subject, *prefixes: str) -> list[str]:
    """The rules that found something, each once, sorted."""
    return sorted({row.rule for row in found(subject, *prefixes)})


def _read(tars: list[bytes]) -> tuple[tuple[LayerScan, ...], dict[tuple[int, int], bytes]]:
    """Each layer's scan, and the contents of files by layer and number of the entry."""
    scans, contents = [], {}
    for layer, tar in enumerate(tars):
        scans.append(scan(entries(open_layer(io.BytesIO(tar), limit=_LARGEST)[0])))
        for ordinal, (_, content) in enumerate(entries(open_layer(io.BytesIO(tar), limit=_LARGEST)[0])):
            if content is not None:
                contents[layer, ordinal] = content.read()
    return tuple(scans), contents
