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
        # Libraries may name a loader as well; other machines' programs lie in wheels that serve several.
        if not elf.interp or ".so" in posixpath.basename(path) or elf.machine != own.machine:
            continue
        entry = subject.tree.follow(path)
        if entry is None or not entry.mode & 0o111 or elf.interp != own.interp:
            continue
        # What the distributor left out of its own packages is its affair.
        owner = subject.owner(path)
        if owner not in distributions:
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


def _started(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    own = subject.scan(facts.interpreter).elf if facts is not None else None
    if facts is None or own is None:
        return
    for path in dict.fromkeys(real for row in subject.start.chain if (real := subject.real(row))):
        elf = subject.scan(path).elf
        # Without a loader nothing is loaded; what another loader or another machine wants is not known here.
        if elf is None or path == facts.interpreter or (elf.interp, elf.machine) != (own.interp, own.machine):
            continue
        outcome = Loader(subject, facts, path).started
        known = subject.providers(frozenset(row.library for row in outcome.missing)) if outcome.missing else {}
        for lost in outcome.missing:
            by = "" if lost.wanted_by == path else f" (for {lost.wanted_by})"
            yield Found(
                path=path,
                evidence=f"it needs {lost.library}{by}, which is nowhere that the dynamic loader looks",
                fix=f'runtime-packages = ["{known[lost.library]}"] in [tool.dpbuild]' if lost.library in known else "",
            )
        for old in outcome.outdated:
            by = "" if old.wanted_by == path else f" (for {old.wanted_by})"
            has = f", which has {old.newest}" if old.newest else ""
            yield Found(
                path=path,
                evidence=f"it needs {old.version} of {old.library}{by}, and the image's is {old.found}{has}",
                fix="take the program from the base's own release, or one that is linked statically",
            )


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
    Rule(
        id="LIB006",
        severity=Severity.ERROR,
        title="the program to start needs a library that the image lacks",
        symptom="/app/server: error while loading shared libraries: libfoo.so.1: cannot open shared object file: No"
        " such file or directory; /tini: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found",
        why="What Entrypoint and Cmd start, or what stands before Python there (tini, dumb-init), was built on another"
        " system: its libraries, or newer versions of them, did not come along.",
        fix="add what has the library: runtime-packages in [tool.dpbuild] takes Debian packages",
        look=_started,
    ),
)
