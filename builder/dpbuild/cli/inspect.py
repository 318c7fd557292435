"""``dpbuild inspect``."""

import json
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError
from dpbuild.model.base import Base
from dpbuild.oci.platform import Platform


def as_json(base: Base) -> dict[str, Any]:
    """What ``--json`` prints; its schema is ``docs/schema/inspect.json``."""
    from dpbuild.stages.facts_codec import encode

    config = base.config
    return {
        "reference": str(base.reference),
        "root": {"digest": str(base.root.digest), "mediaType": base.root.media_type},
        "manifest": {"digest": str(base.descriptor.digest), "mediaType": base.descriptor.media_type},
        "platform": str(base.platform),
        "layers": [
            {"digest": str(row.digest), "mediaType": row.media_type, "size": row.size} for row in base.manifest.layers
        ],
        "config": {
            "user": config.user,
            "env": list(config.env),
            "entrypoint": list(config.entrypoint),
            "cmd": list(config.cmd),
            "workingDir": config.working_dir,
            "labels": dict(config.labels),
        },
        "annotations": dict(base.manifest.annotations),
        "files": len(base.tree),
        "facts": encode(base.facts),
    }


def render(base: Base) -> str:
    """The facts as a table."""
    facts, config = base.facts, base.config
    size = sum(row.size for row in base.manifest.layers)
    flags = ", ".join(
        word for word, there in (("free-threaded", facts.gil_disabled), ("debug build", facts.debug)) if there
    )
    rows = [
        ("reference", str(base.reference)),
        ("digest", str(base.descriptor.digest)),
        ("platform", str(base.platform)),
        ("distributor", facts.distributor.replace(":", " ") or "unknown"),
        ("python", f"{facts.implementation} {facts.version}{f' ({flags})' if flags else ''}"),
        ("interpreter", facts.interpreter),
        ("soabi", facts.soabi),
        ("extension suffixes", " ".join(facts.extension_suffixes)),
        ("machine", facts.machine),
        ("libc", f"{facts.libc} ({facts.libc.loader})"),
        ("libstdc++", f"GLIBCXX_{facts.glibcxx}" if facts.glibcxx else "none"),
        ("standard library", facts.stdlib),
        ("packages go to", facts.purelib),
        ("scripts go to", facts.scripts),
        ("site directories", "\n".join(facts.site_directories)),
        ("user", config.user or "0"),
        ("working directory", config.working_dir or "/"),
        ("entrypoint", json.dumps([*config.entrypoint])),
        ("cmd", json.dumps([*config.cmd])),
        ("environment", "\n".join(config.env) or "none"),
        ("layers", f"{len(base.manifest.layers)}, {size / 1e6:.1f} MB compressed"),
        ("files", str(len(base.tree))),
        ("system packages", f"{len(facts.packages)}" if facts.packages else "none listed"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        first, *rest = text.split("\n")
        lines.append(f"{name:<{width}}  {first}")
        lines += [" " * (width + 2) + line for line in rest]
    return "\n".join(lines)


@click.command("inspect")
@click.argument("reference", metavar="REF")
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON with every package.")
@options.platforms
@options.common
def command(reference: str, *, json_: bool, **given: Any) -> None:
    """Show what is known of the Python in the image REF, read from its files without running it."""
    from dpbuild.oci import reference as references
    from dpbuild.stages.base import read_base

    world = options.world(**given)
    wanted = options.split(given["platform"])
    if len(wanted) > 1:
        raise UsageError("inspect shows one platform at a time", hint="give --platform once")
    try:
        parsed = references.parse(reference)
        platform = Platform.parse(wanted[0]) if wanted else world.host
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    base = read_base(parsed, world.source(parsed, (platform,)), platform, world.store, world.reporter)
    click.echo(json.dumps(as_json(base), indent=2) if json_ else render(base))
