"""SIZ: what makes an image large, or too large for those that are to take it."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.model.finding import Severity
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

# moby, layer/layer_store.go, maxLayerDepth; overlayfs takes no more by what fits into one page of mount options.
_MOST_LAYERS: Final = 127
_MANY_LAYERS: Final = 120
# Compressed bytes: GitHub's registry takes 10 GB for a layer, Azure's machine-learning service 8.
_LARGEST: Final = 10_000_000_000
_LARGE: Final = 8_000_000_000
_WASTE: Final = 5_000_000
_CACHE: Final = 1_000_000
_TESTS: Final = 25_000_000
_CACHES: Final = re.compile(
    r"(?:.*/)?(?P<folder>\.cache/(?:pip|uv|pypoetry|pdm|hatch|pre-commit)|\.npm/_cacache|var/cache/apt/archives"
    r"|var/lib/apt/lists|var/cache/apk|var/cache/dnf|\.mypy_cache|\.pytest_cache|\.ruff_cache|\.hypothesis)/.*"
)
_GPU_BASE: Final = ("CUDA_VERSION", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_REQUIRE_CUDA", "ROCM_VERSION")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _depth(subject: Subject) -> Iterator[Found]:
    count = len(subject.layers)
    if count >= _MANY_LAYERS:
        yield Found(
            path="/",
            evidence=f"the image has {count} layers, and engines take {_MOST_LAYERS}, some 125",
            severity=Severity.ERROR if count > _MOST_LAYERS else Severity.WARNING,
        )


def _large_layers(subject: Subject) -> Iterator[Found]:
    for index, layer in enumerate(subject.layers):
        if layer.size > _LARGE:
            limit = "10 GB, which GitHub's registry" if layer.size > _LARGEST else "8 GB, which Azure ML"
            yield Found(
                path="/",
                evidence=f"{subject.layer_name(index)} has {layer.size / 1e9:.1f} GB, more than the {limit} takes",
            )


def _cuda(subject: Subject) -> Iterator[Found]:
    if any(subject.config.variable(name) for name in _GPU_BASE):
        return
    rows = [row for row in subject.distributions if row.name.startswith("nvidia-") or row.name == "triton"]
    rows += [row for row in subject.distributions if re.search(r"\+(?:cu|rocm)\d", row.version)]
    if not rows:
        return
    folders = tuple(f"{row.site.strip('/')}/{name}/" for row in rows for name in ("nvidia", "triton", "torch"))
    size = sum(row.size for row in subject.entries if row.path.startswith(folders))
    names = ", ".join(str(row) for row in rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
    yield Found(
        path=rows[0].info,
        evidence=f"{names}: {_megabytes(size)}, and nothing in Env says that the base is for GPUs",
    )


def _hidden(subject: Subject) -> Iterator[Found]:
    used = {origin for _, origin in subject.tree.origins()}
    rows = [
        (entry.size, layer, entry.path)
        for layer, scan in enumerate(subject.scans)
        for ordinal, entry in enumerate(scan.entries)
        if entry.kind is Kind.FILE and entry.size and (layer, ordinal) not in used
    ]
    total = sum(size for size, _, _ in rows)
    if total >= _WASTE:
        size, layer, path = max(rows)
        yield Found(
            path=f"/{path}",
            evidence=f"{len(rows)} files with {_megabytes(total)} are in layers, but hidden by later ones; the largest"
            f" is this one of {subject.layer_name(layer)}, {_megabytes(size)}",
        )


def _caches(subject: Subject) -> Iterator[Found]:
    sizes: dict[str, int] = {}
    for entry in subject.entries:
        if entry.size and (match := _CACHES.fullmatch(entry.path)):
            folder = f"/{entry.path[: match.end('folder')]}"
            sizes[folder] = sizes.get(folder, 0) + entry.size
    for folder, size in sizes.items():
        if size >= _CACHE:
            yield Found(path=folder, evidence=f"{_megabytes(size)}")


def _tests(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    skipped = (facts.stdlib,) if facts is not None else ()
    sites = [real.strip("/") for row in subject.sys_path if row not in skipped and (real := subject.real(row))]
    sizes: dict[str, int] = {}
    below = tuple(f"{row}/" for row in sites)
    for entry in subject.entries:
        if not entry.size or "/test" not in entry.path or not entry.path.startswith(below):
            continue
        site = next(row for row in sites if entry.path.startswith(f"{row}/"))
        parts = entry.path[len(site) + 1 :].split("/")
        if "tests" in parts[:-1] or "test" in parts[:-1]:
            folder = posixpath.join("/", site, parts[0])
            sizes[folder] = sizes.get(folder, 0) + entry.size
    total = sum(sizes.values())
    if total >= _TESTS:
        largest = sorted(sizes.items(), key=lambda row: -row[1])
        named = ", ".join(f"{posixpath.basename(folder)} {_megabytes(size)}" for folder, size in largest[:3])
        yield Found(path=largest[0][0], evidence=f"test suites of installed packages: {_megabytes(total)} ({named})")


RULES: Final = (
    Rule(
        id="SIZ001",
        severity=Severity.WARNING,
        title="the image has nearly too many layers",
        symptom="max depth exceeded",
        why="Engines stop at 125 to 127 layers, and a distroless Python base has 48 already. Beyond 127 it is an"
        " error.",
        fix="put more into one layer; dpbuild keeps to a budget by itself",
        look=_depth,
    ),
    Rule(
        id="SIZ002",
        severity=Severity.WARNING,
        title="a layer is larger than some services take",
        symptom="a push or pull that ends with a timeout, 413 or 'layer too large'",
        why="GitHub's registry takes 10 GB for a layer, Azure ML 8 GB.",
        fix="spread the content over several layers, one for each large package",
        look=_large_layers,
    ),
    Rule(
        id="SIZ003",
        severity=Severity.WARNING,
        title="CUDA by accident",
        symptom="an image of 8 GB for a program that runs on CPUs",
        why="PyPI's torch for Linux depends on NVIDIA's libraries, which are several gigabytes. A base without CUDA"
        " usually means a machine without GPUs.",
        fix="take torch from an index with CPU builds (its wheels end in +cpu), or ignore the rule",
        look=_cuda,
    ),
    Rule(
        id="SIZ004",
        severity=Severity.NOTE,
        title="files are shipped that nobody can see",
        symptom="an image that is larger than its files",
        why="Removing or replacing a file in a later layer hides it; the earlier layer is pulled all the same. It is"
        " also no way to remove a secret.",
        fix="leave the files out of the layer that brings them: clean up in the same RUN, or copy from a build stage",
        look=_hidden,
    ),
    Rule(
        id="SIZ005",
        severity=Severity.NOTE,
        title="caches were left in the image",
        symptom="an image that is larger than it needs to be",
        why="pip, uv, apt and tools for tests keep what they downloaded or computed. A running container has no use"
        " for it.",
        fix="pip install --no-cache-dir, RUN --mount=type=cache, or copy the result only",
        look=_caches,
    ),
    Rule(
        id="SIZ006",
        severity=Severity.NOTE,
        title="large test suites of packages",
        symptom="an image that is larger than it needs to be",
        why="Some wheels hold their tests. Nothing imports them when the program runs; yet RECORD lists them, so that"
        " removing them shows as damage in scanners.",
        fix="live with it, or ask for wheels without tests",
        look=_tests,
    ),
)
