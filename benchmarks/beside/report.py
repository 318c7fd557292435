"""The table, the plot and the JSON of what was measured."""

import html
import json
import math
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beside.cases import CASES, Pair

_MB = 1e6
_PAGE = """\
# Beside a Dockerfile

Build and push together by the wall clock, dpbuild and the Dockerfile in `peer/` (BuildKit, uv with its cache in a cache
mount) in turn on one machine: same base, same locked requirements with hashes, same index and registry on loopback.
Medians; ratios are pair by pair, with the smallest and the largest. dpbuild is run with its defaults, so each image is
proved and has an SBOM and a provenance attached, which the Dockerfile's has not.

{date}{trial}; {versions}.
{checked}

{times}

![how many times faster]({stem}.svg)

## Memory, bytes sent, bytes kept

Of the first round. Memory is the largest sum of resident memory: dpbuild with what it starts; the engine with its
daemons and what runs in the build, looked at ten times a second. Sent: bytes that the registry wrote meanwhile, which
are uploads and short answers. Kept: what the store, or the engine's folder, takes more on the disk (in the rows of
pulls: what the image takes in the engine).

{sizes}

## Notes

{notes}\
- *cold* finds the wheels (dpbuild's store, uv's cache) and the base on both sides, and no layer.
- Where bytecode is compared, dpbuild compiles the standard library too, and the Dockerfile the packages only.
- *base bumped*: the engine has made the new base itself and need not fetch it; dpbuild fetches it.
- *empty machine*: store and engine begin with nothing; both fetch base and wheels, and the Dockerfile its builder.
- *pull*: an engine without any image; restarted with `MOBY_DISABLE_PIGZ` where it is to do without unpigz.
"""


def ratios(pairs: list[Pair]) -> list[float]:
    """How many times as long the Dockerfile took, pair by pair."""
    return [peer.seconds / ours.seconds for ours, peer in pairs if ours.seconds]


def value(results: dict[str, list[Pair]], setting: dict[str, Any]) -> dict[str, Any]:
    """Everything, for compare.json."""
    rows = {
        key: {
            "ratio": statistics.median(ratios(pairs)),
            "pairs": [{"dpbuild": asdict(ours), "dockerfile": asdict(peer)} for ours, peer in pairs],
        }
        for key, pairs in results.items()
        if pairs
    }
    return {"date": time.strftime("%Y-%m-%d"), **setting, "cases": rows}


def write(folder: Path, results: dict[str, list[Pair]], setting: dict[str, Any], stem: str = "compare") -> None:
    """compare.json, compare.md and compare.svg, each at once."""
    texts = {
        "json": json.dumps(value(results, setting), indent=1) + "\n",
        "md": page(results, setting, stem),
        "svg": plot(results),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in texts.items():
        temporary = folder / f".{stem}.{ending}.new"
        temporary.write_text(text)
        temporary.replace(folder / f"{stem}.{ending}")


def page(results: dict[str, list[Pair]], setting: dict[str, Any], stem: str) -> str:
    rows = {
        "date": time.strftime("%Y-%m-%d"),
        "trial": ", --quick: a trial of the script" if setting["quick"] else "",
        "versions": "; ".join(f"{name} {text}" for name, text in setting["versions"].items() if text),
        "checked": setting["checked"],
        "times": times(results, setting["runs"]),
        "sizes": sizes(results),
        "notes": "".join(f"- {row}\n" for row in setting["notes"]),
        "stem": stem,
    }
    return _PAGE.format(**rows)


def times(results: dict[str, list[Pair]], rounds: int) -> str:
    lines = [
        "| case | dpbuild | Dockerfile (build + push) | ratio (range) | goal | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        if case.key not in results:
            continue
        pairs = results[case.key]
        goal = f"{case.goal:.3g}" if case.goal else ""
        if not pairs:
            lines.append(f"| {case.title} | | | not measured, see the notes | {goal} | 0 |")
            continue
        found = ratios(pairs)
        ours, peer = (statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1))
        parts = ""
        if pairs[0][1].parts:
            build, push = (statistics.median(row[1].parts[name] for row in pairs) for name in ("build", "push"))
            parts = f" ({_s(build)} + {_s(push)})"
        passes = -(-len(pairs) // case.inner)
        fewer = f"{len(pairs)}" + ("" if passes >= rounds else f" ({passes} of {rounds} rounds)")
        middle = statistics.median(found)
        lines.append(
            f"| {case.title} | {_s(ours)} s | {_s(peer)} s{parts} | **{middle:.3g}** "
            f"({min(found):.3g}-{max(found):.3g}) | {goal} | {fewer} |"
        )
    return "\n".join(lines)


def _s(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}"


def sizes(results: dict[str, list[Pair]]) -> str:
    names = ("memory", "sent", "kept")
    head = " | ".join(f"{name}, MB: dpbuild | Dockerfile" for name in names)
    lines = [f"| case | {head} |", "|---|" + "---|---|" * 3]
    for case in CASES:
        pairs = results.get(case.key)
        if pairs:
            cells = []
            for name in names:
                for side in (0, 1):
                    found = [getattr(pair[side], name) for pair in pairs if getattr(pair[side], name) is not None]
                    cells.append(f"{found[0] / _MB:.1f}" if found else "")
            lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: dict[str, list[Pair]]) -> str:
    """The ratios as bars on a logarithmic scale from 0.5 to 500, ranges as whiskers, the goals as marks."""
    left, width, low, high = 300, 520, math.log10(0.5), math.log10(500)

    def x(ratio: float) -> float:
        return left + width * (min(max(math.log10(ratio), low), high) - low) / (high - low)

    rows = []
    drawn = [case for case in CASES if results.get(case.key)]
    bottom = 34 + 26 * len(drawn)
    for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        rows.append(f'<line x1="{x(tick):.1f}" y1="30" x2="{x(tick):.1f}" y2="{bottom}" stroke="#ddd"/>')
        rows.append(f'<text x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle" fill="#666">{tick:g}</text>')
    for number, case in enumerate(drawn):
        y = 34 + 26 * number
        found = ratios(results[case.key])
        middle, start = statistics.median(found), x(1)
        begin, end = sorted((start, x(middle)))
        rows.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{html.escape(case.title)}</text>')
        colour = "#3b75af" if middle >= 1 else "#b0743b"
        rows.append(f'<rect x="{begin:.1f}" y="{y}" width="{max(1.0, end - begin):.1f}" height="18" fill="{colour}"/>')
        rows.append(
            f'<line x1="{x(min(found)):.1f}" y1="{y + 9}" x2="{x(max(found)):.1f}" y2="{y + 9}" stroke="#123"/>'
        )
        if case.goal:
            goal = x(case.goal)
            rows.append(
                f'<line x1="{goal:.1f}" y1="{y - 2}" x2="{goal:.1f}" y2="{y + 20}" stroke="#c33" stroke-width="2"/>'
            )
        rows.append(f'<text x="{max(end, x(max(found))) + 8:.1f}" y="{y + 13}">{middle:.3g} ×</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {bottom + 24}" width="900" height="{bottom + 24}" '
        'font-family="sans-serif" font-size="12">'
    )
    title = f'<text x="{left}" y="18">how many times faster than the Dockerfile, build and push (red: goal)</text>'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{title}{"".join(rows)}</svg>\n'
