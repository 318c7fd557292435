"""LIB: programs that packages bring along and start, and the libraries that those need."""

import posixpath
from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.proof.loader import Loader
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject


def _programs(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    own = subject.scan(facts.interpreter).elf if facts is not None else None
    if facts is None or own is None:
        return
    loader = Loader(subject, facts)
    distributions = {str(row) for row in subject.distributions}
    lost: dict[tuple[str, str], list[str]] = {}
    for path, elf in subject.elves.items():
        owner = subject.owner(path)
        # Libraries may name a loader as well; other machines' programs lie in wheels that serve several.
        if not elf.interp or ".so" in posixpath.basename(path) or elf.machine != own.machine:
            continue
        entry = subject.tree.follow(path)
        # What the distributor left out of its own packages is its affair.
        if owner not in distributions or entry is None or not entry.mode & 0o111 or elf.interp != own.interp:
            continue
        for row in loader.load(path).missing:
            # A package that brings the library as well says where it is when it starts the program.
            if any(each.endswith(f"/{row.library}") for each in subject.files_of(owner)):
                continue
            lost.setdefault((row.library, owner), []).append(path)
    known = subject.providers(frozenset(library for library, _ in lost)) if lost else {}
    for (library, _), paths in lost.items():
        more = f"; {len(paths) - 1} more of the package" if len(paths) > 1 else ""
        evidence = f"this program needs {library}, which is nowhere that the dynamic loader looks{more}"
        fix = f'runtime-packages = ["{known[library]}"] in [tool.dpbuild]' if library in known else ""
        yield Found(path=paths[0], evidence=evidence, fix=fix)


RULES: Final = (
    Rule(
        id="LIB005",
        severity=Severity.WARNING,
        title="a program that a package brings along needs a missing library",
        symptom="playwright/driver/node: error while loading shared libraries: libatomic.so.1: cannot open shared"
        " object file: No such file or directory",
        why="Some packages bring a program and start it: playwright a Node.js, others a database or a compiler. The"
        " base has the libraries of Python and little more. The package can be imported, and fails when it is used.",
        fix="add what has the library: runtime-packages in [tool.dpbuild] takes Debian packages",
        look=_programs,
    ),
)
