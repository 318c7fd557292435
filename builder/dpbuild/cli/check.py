"""``dpbuild check``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dpbuild.cli import options
from dpbuild.errors import FindingsError, UsageError
from dpbuild.model.finding import Finding, Severity
from dpbuild.model.words import counted
from dpbuild.oci.platform import Platform

if TYPE_CHECKING:
    from dpbuild.stages.proof.selection import Selection


def rules(name: str, text: str) -> Callable[[Any], Any]:
    """``--select`` and ``--ignore``."""
    variable = f"DPBUILD_{name.upper()}"
    return click.option(f"--{name}", name, multiple=True, envvar=variable, metavar="RULE", help=text)


@click.command("check")
@click.argument("reference", metavar="REF")
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON, one object for each finding.")
@click.option(
    "--sarif",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DPBUILD_SARIF",
    help="Also write the findings as SARIF 2.1.0, for code scanning.",
)
@rules("select", "Only this rule, or all with this prefix; repeat, or separate by commas.")
@rules("ignore", "Not this rule, or none with this prefix; repeat, or separate by commas.")
@options.platforms
@options.common
def command(reference: str, *, json_: bool, sarif: Path | None, **given: Any) -> None:
    """Look for every known way in which the Python of the image REF would break, without running it.

    Also for images that were made otherwise. Ends with 70 if there is an error; dpbuild explain RULE says
    what a rule means.
    """
    from dpbuild.checking import check
    from dpbuild.stages.proof.selection import chosen

    world = options.world(**given)
    wanted = options.split(given["platform"])
    selection = _selection(given)
    try:
        parsed = options.image(reference)
        platforms = [Platform.parse(word) for word in wanted] or [world.host]
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    results = []
    for platform in platforms:
        image, findings = check(parsed, platform, world)
        results.append((image, platform, chosen(findings, selection)))
    if sarif is not None:
        from dpbuild.stages.proof.sarif import as_sarif

        world.write_json(sarif, as_sarif(str(parsed), [(str(row[1]), row[2]) for row in results]))
    if json_:
        rows = [as_json(str(row[0].descriptor.digest), str(row[1]), each) for row in results for each in row[2]]
        click.echo(json.dumps(rows, indent=2))
    else:
        for image, platform, findings in results:
            if findings:
                click.echo(render(findings))
            world.reporter.result(f"{platform} {image.descriptor.digest}: {summary(findings)}")
    errors = sum(1 for row in results for each in row[2] if each.severity is Severity.ERROR)
    if errors:
        raise FindingsError(
            f"the image has {counted(errors, 'error')}",
            where=str(parsed),
            hint="dpbuild explain RULE says what a rule means and how to mend it",
        )


def _selection(given: dict[str, Any]) -> "Selection":
    from dpbuild.stages.proof.prove import selector
    from dpbuild.stages.proof.selection import Selection

    try:
        return Selection(
            select=tuple(selector(word) for word in options.split(given["select"])),
            ignore=tuple(selector(word) for word in options.split(given["ignore"])),
        )
    except ValueError as problem:
        raise UsageError(str(problem), hint="dpbuild explain lists all rules") from None


def as_json(digest: str, platform: str, finding: Finding) -> dict[str, str]:
    """One finding, as ``--json`` prints it; its schema is ``docs/schema/check.json``."""
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "path": finding.path,
        "evidence": finding.evidence,
        "owner": finding.owner,
        "fix": finding.fix,
        "digest": digest,
        "platform": platform,
    }


def render(findings: tuple[Finding, ...]) -> str:
    """The findings as a person reads them."""
    blocks = []
    for row in findings:
        owner = f" ({row.owner})" if row.owner else ""
        lines = [f"{row.rule} {row.severity}: {row.path}{owner}", f"    {row.evidence}"]
        blocks.append("\n".join([*lines, f"    fix: {row.fix}"] if row.fix else lines))
    return "\n".join(blocks)


def summary(findings: tuple[Finding, ...]) -> str:
    """``1 error, 2 warnings``."""
    counts = [(word, sum(1 for row in findings if row.severity is word)) for word in Severity]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts if count) or "no findings"
