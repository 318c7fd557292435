"""Findings as SARIF 2.1.0, the format of code-scanning services (OASIS, sections 3.13 to 3.27)."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from dpbuild import __version__
from dpbuild.model.finding import Finding, Severity
from dpbuild.stages.proof.rules import ALL

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def as_sarif(reference: str, results: Iterable[tuple[str, tuple[Finding, ...]]]) -> dict[str, Any]:
    """One run for the image; ``results`` are platforms with their findings."""
    index = {rule.id: number for number, rule in enumerate(ALL)}
    rows = [
        {
            "ruleId": row.rule,
            "ruleIndex": index[row.rule],
            "level": _LEVELS[row.severity],
            "message": {"text": _message(row)},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": quote(row.path.lstrip("/")) or "."}},
                    "logicalLocations": [{"fullyQualifiedName": f"{reference} {platform} {row.path}"}],
                }
            ],
            "partialFingerprints": {"dpbuild/v1": f"{platform}:{row.rule}:{row.path}"},
        }
        for platform, findings in results
        for row in findings
    ]
    driver = {
        "name": "dpbuild",
        "version": __version__,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.why},
                "help": {"text": rule.fix},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in ALL
        ],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": rows}],
    }


def _message(finding: Finding) -> str:
    owner = f" (from {finding.owner})" if finding.owner else ""
    return f"{finding.evidence}{owner}. {finding.fix}" if finding.fix else f"{finding.evidence}{owner}"
