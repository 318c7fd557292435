"""``dpbuild inspect``."""

import json
import textwrap
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError
from dpbuild.model.base import Base
from dpbuild.model.facts import Facts
from dpbuild.model.surroundings import Surroundings
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
    config = base.config
    size = sum(row.size for row in base.manifest.layers)
    rows = [
        ("reference", str(base.reference)),
        ("digest", str(base.descriptor.digest)),
        ("platform", str(base.platform)),
        ("layers", f"{len(base.manifest.layers)}, {size / 1e6:.1f} MB compressed"),
        ("files", str(len(base.tree))),
        *_interpreter(base.facts),
        *_system(base.facts),
        *_surroundings(base.facts.surroundings, config.user),
        ("working directory", config.working_dir or "/"),
        ("entrypoint", json.dumps([*config.entrypoint])),
        ("cmd", json.dumps([*config.cmd])),
        ("environment", "\n".join(config.env) or "none"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        first, *rest = text.split("\n")
        lines.append(f"{name:<{width}}  {first}")
        lines += [" " * (width + 2) + line for line in rest]
    return "\n".join(lines)


def _interpreter(facts: Facts) -> list[tuple[str, str]]:
    flags = ", ".join(
        word for word, there in (("free-threaded", facts.gil_disabled), ("debug build", facts.debug)) if there
    )
    claims = [
        f"{row.source}: {row.version}{'' if row.agrees else ', WHICH IS ANOTHER VERSION'}"
        for row in facts.version_claims
    ]
    rows = [
        ("python", f"{facts.implementation} {facts.version}" + (f" ({flags})" if flags else "")),
        ("the version elsewhere", "\n".join(claims) or "nowhere"),
        ("interpreter", facts.interpreter),
        ("soabi", facts.soabi),
        ("extension suffixes", " ".join(facts.extension_suffixes)),
        ("machine", facts.machine),
        ("libc", f"{facts.libc} ({facts.libc.loader})"),
        ("libstdc++", f"GLIBCXX_{facts.glibcxx}" if facts.glibcxx else "none"),
        ("standard library", facts.stdlib),
        ("missing modules", _missing(facts.missing_modules)),
        ("packages go to", facts.purelib),
        ("scripts go to", facts.scripts),
        ("site directories", "\n".join(facts.site_directories) or "none"),
    ]
    if facts.virtual_environment is not None:
        own = facts.virtual_environment
        rows.append(("virtual environment", own.prefix + (", system packages too" if own.system_site_packages else "")))
    if facts.path_file:
        rows.append(("path file", f"{facts.path_file} replaces sys.path"))
    return rows


def _missing(modules: tuple[str, ...] | None) -> str:
    if modules is None:
        return "not known for this version"
    return "\n".join(textwrap.wrap(" ".join(modules), 90)) or "none"


def _system(facts: Facts) -> list[tuple[str, str]]:
    databases = [f"{row.path} ({row.kind}{'' if row.read else ', not read'})" for row in facts.package_databases]
    return [
        ("distributor", facts.distributor.replace(":", " ") or "unknown"),
        ("system packages", f"{len(facts.packages)}" if facts.packages else "none listed"),
        ("package databases", "\n".join(databases) or "none"),
    ]


def _surroundings(found: Surroundings, user: str) -> list[tuple[str, str]]:
    trust = found.certificates
    zones = f"{found.zoneinfo}, {'with' if found.legacy_zones else 'without'} legacy names"
    asked = " ".join(path for path in (trust.file, trust.directory) if path) or "nowhere that can be told"
    runs = "a user or group that the image does not have: no engine starts it"
    if found.user is not None:
        name = f" ({found.user.name})" if found.user.name else ""
        runs = f"{found.user.uid}:{found.user.gid}{name}, home {found.user.home}"
    return [
        ("time zones", zones if found.zoneinfo else "none"),
        ("certificates", "\n".join(trust.bundles) or "none"),
        ("openssl looks at", asked + ("" if trust.found else ", where there are none")),
        ("shells", " ".join(found.shells) or "none"),
        ("users", ", ".join(f"{row.name} {row.uid}" for row in found.users) or "none"),
        ("user", user or "0"),
        ("runs as", runs),
    ]


@click.command("inspect")
@click.argument("reference", metavar="REF")
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON with every package.")
@options.platforms
@options.common
def command(reference: str, *, json_: bool, **given: Any) -> None:
    """Show what is known of the Python in the image REF, read from its files without running it."""
    from dpbuild.stages.base import read_base

    world = options.world(**given)
    wanted = options.split(given["platform"])
    if len(wanted) > 1:
        raise UsageError("inspect shows one platform at a time", hint="give --platform once")
    try:
        parsed = options.image(reference)
        platform = Platform.parse(wanted[0]) if wanted else world.host
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    base = read_base(parsed, world.source(parsed, (platform,)), platform, world.store, world.reporter)
    click.echo(json.dumps(as_json(base), indent=2) if json_ else render(base))
