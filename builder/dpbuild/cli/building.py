"""What ``dpbuild build`` does once its options are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpbuild.built import BuildOptions
from dpbuild.cli.values import directory, paths, split
from dpbuild.errors import OutputError, UsageError
from dpbuild.oci.digest import Digest
from dpbuild.unchanged import build

if TYPE_CHECKING:
    from dpbuild.wiring import World


def perform(path: Path, given: Mapping[str, Any], world_of: Callable[[], World]) -> None:
    """Build, and say on stdout what was written; ``given`` are the options by their names."""
    outputs = paths(given["outputs"])
    if given["locked"] and given["frozen"]:
        raise UsageError(
            "--locked and --frozen cannot be said together",
            hint="--locked fails where the lock is stale, --frozen does not look",
        )
    _check(given["expect_digest"])
    for name in ("metadata_file", "sbom"):
        _check_file(f"--{name.replace('_', '-')}", given[name])
    world = world_of()
    folder = directory(path)
    flags: dict[str, object] = {}
    if given["tags"]:
        flags["tags"] = [part for value in given["tags"] for part in value.split()]
    if given["platform"]:
        flags["platforms"] = [*split(given["platform"])]
    if given["base"]:
        flags["base"] = given["base"]
    if given["evidence"] is not None:
        flags["evidence"] = given["evidence"]
    written = [Path(path) for path in (*outputs, given["metadata_file"], given["sbom"]) if path]
    built = build(
        world.project(folder, written),
        flags,
        BuildOptions(
            push=given["push"],
            load=given["load"],
            outputs=outputs,
            locked=given["locked"],
            frozen=given["frozen"],
            builder=given["builder"],
            epoch=given["epoch"] if given["epoch"] is not None else world.epoch,
            expect_digest=given["expect_digest"] or "",
            sbom=given["sbom"] is not None,
            sign_key=given["sign_key"] or "",
            sign_keyless=given["sign_keyless"],
            trust_config=given["trust_config"] or "",
        ),
        world,
    )
    if given["metadata_file"]:
        world.write_json(given["metadata_file"], built.metadata())
    if given["sbom"]:
        world.write_file(given["sbom"], built.evidence[-1].sbom)
    print(built.written[0].reference, flush=True)  # noqa: T201


def _check(digest: str | None) -> None:
    """What would otherwise fail when much of the work is done. Raises UsageError."""
    if digest:
        try:
            Digest.parse(digest)
        except ValueError as problem:
            raise UsageError(
                f"--expect-digest: {problem}", hint="a digest is sha256: and 64 hexadecimal digits"
            ) from None


def _check_file(option: str, path: Path | None) -> None:
    """Whether a file that is written last can be written. Raises OutputError."""
    if path is None:
        return
    from dpbuild.adapters.sink.files import probe

    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"there is no folder for {option}", where=str(path), hint="make the folder first")
    try:
        probe(folder)
    except OSError as problem:
        raise OutputError(f"cannot write {option}: {problem.strerror}", where=str(path)) from None
