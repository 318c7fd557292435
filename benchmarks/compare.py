"""dpbuild beside a Dockerfile with BuildKit and uv: same base, same requirements, same registry, same machine, in turn.

    make bench                                   # all of it: benchmarks/compare.md, .svg and .json
    make bench ARGS="--minutes 28 --runs 3"      # what fits into the time; partial results are kept
    python benchmarks/compare.py --quick         # few small packages: does the script work here?

Needs Docker, the programs ``docker-registry`` and ``openssl``, a Debian mirror and the package index that uv or pip is
configured for. As root with ``dockerd`` it starts engines of its own, which it ends; else it uses the one that answers.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beside import report
from beside.cases import CASES, Case, Pair, Round
from beside.machine import Clock, Failed, OutOfTime, facts, remove
from beside.setting import Setting

HERE = Path(__file__).parent


class Bench:
    """Rounds over the chosen cases, as many as asked for and as there is time for."""

    def __init__(self, given: argparse.Namespace, setting: Setting, clock: Clock, surroundings: dict[str, str]) -> None:
        self._given = given
        self._setting = setting
        self._clock = clock
        self._machine = surroundings
        self._cases = [case for case in CASES if not given.only or case.key in given.only]
        self._cost = {case.key: 3.0 if given.quick else case.seconds for case in self._cases}
        self.results: dict[str, list[Pair]] = {case.key: [] for case in self._cases}
        self._broken: set[str] = set()

    def run(self) -> None:
        """All rounds; returns early when the time is over."""
        try:
            for number in range(self._given.runs):
                self._say(f"round {number + 1} of {self._given.runs}")
                this = Round(self._setting, number)
                for case in sorted(self._cases, key=lambda row: row.extra):
                    if case.key not in self._broken and self._fits(case, number):
                        self._one(case, this)
            missing = [case for case in self._cases if not self.results[case.key] and case.key not in self._broken]
            if missing:
                # What made room for the others, if there is room after all.
                this = Round(self._setting, 0)
                for case in missing:
                    if self._clock.left() > self._cost[case.key]:
                        self._one(case, this)
        except OutOfTime:
            self._setting.note(f"the {self._given.minutes:g} minutes that were given ended before all rounds did")
        for case in self._cases:
            if not self.results[case.key] and case.key not in self._broken:
                self._setting.note(f"{case.title}: there was no time for it")

    def _fits(self, case: Case, number: int) -> bool:
        """Whether there is time for it; an extra one leaves enough for another round of the others."""
        needed = self._cost[case.key]
        if case.extra and number < self._given.runs - 1:
            needed += sum(self._cost[row.key] for row in self._cases if not row.extra) * (1.0 if not number else 2.0)
        if self._clock.left() < needed:
            self._say(f"{case.key}: no time for it in round {number + 1}")
            return False
        return True

    def _one(self, case: Case, this: Round) -> None:
        began = time.monotonic()
        try:
            pairs = case.measure(this)
        except Failed as problem:
            self._setting.note(f"{case.title}: {problem}")
            self._broken.add(case.key)
            return
        except OSError as problem:
            self._setting.note(f"{case.title}: {type(problem).__name__}: {problem.strerror}")
            self._broken.add(case.key)
            return
        self.results[case.key] += pairs
        self._cost[case.key] = time.monotonic() - began
        ours, peer = pairs[-1]
        self._say(
            f"{case.key}: dpbuild {ours.seconds:.2f} s, Dockerfile {peer.seconds:.2f} s, "
            f"{peer.seconds / ours.seconds:.1f} times ({time.monotonic() - began:.0f} s)"
        )
        self.write()

    def write(self) -> None:
        """What there is so far."""
        folder = self._given.output
        if folder is not None:
            stem = "compare-quick" if self._given.quick else "compare"
            report.write(folder, self.results, self._state(), stem)

    def _state(self) -> dict[str, Any]:
        return {
            "runs": self._given.runs,
            "quick": self._given.quick,
            "versions": {**self._setting.versions, **self._machine},
            "notes": self._setting.notes,
            "checked": self._setting.checked,
        }

    def _say(self, text: str) -> None:
        self._setting.say(text)

    def table(self) -> str:
        return report.times(self.results, self._given.runs)


def arguments() -> argparse.Namespace:
    keys = [case.key for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds over all cases (default 3)")
    parser.add_argument("--only", action="append", choices=keys, metavar="CASE", help=f"repeat; {', '.join(keys)}")
    parser.add_argument("--quick", action="store_true", help="few small packages, to try the script")
    parser.add_argument("--minutes", type=float, help="stop then, with what there is")
    parser.add_argument("--write", action="store_true", help="keep compare.md, .svg and .json in benchmarks/")
    parser.add_argument("--output", type=Path, help="keep them in this folder instead")
    given = parser.parse_args()
    if given.output is None and given.write and not given.quick:
        given.output = HERE
    return given


@contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder that goes in the end, whatever engines have left in it."""
    path = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield path
    finally:
        remove(path)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, stop)
    began, surroundings, clock = time.monotonic(), facts(), Clock(given.minutes)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}] {text}", file=sys.stderr, flush=True)

    with workplace() as tmp:
        wanted = set(given.only or [case.key for case in CASES])
        setting = Setting(tmp, clock, say, quick=given.quick, wanted=wanted)
        bench = Bench(given, setting, clock, surroundings)
        try:
            with setting.index.serving():
                setting.prepare()
                bench.run()
        except (Failed, OutOfTime) as problem:
            say(f"nothing can be measured: {problem or 'there is no time left'}")
            return 1
        except KeyboardInterrupt:
            setting.note("interrupted before all rounds had ended")
        finally:
            setting.close()
            if any(bench.results.values()):
                bench.write()
                print(bench.table())
                print("".join(f"- {row}\n" for row in setting.notes), end="")
        if not any(bench.results.values()):
            say("nothing was measured")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
