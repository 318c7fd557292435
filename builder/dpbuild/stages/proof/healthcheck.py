"""STA: health checks that can only fail."""

import posixpath
from collections.abc import Iterator
from typing import Final

from dpbuild.frozen import replace
from dpbuild.model.finding import Severity
from dpbuild.stages.proof.command import SHELLS
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.start import start
from dpbuild.stages.proof.subject import Subject


def _health_shell(subject: Subject) -> Iterator[Found]:
    check = subject.config.healthcheck
    if check is None or check.test[:1] != ("CMD-SHELL",):
        return
    shell = subject.config.shell[0] if subject.config.shell else "/bin/sh"
    if not subject.tree.is_file(shell):
        yield Found(path="Healthcheck", evidence=f"it is {' '.join(check.test[1:])!r} for {shell}, which is not there")


def _health_program(subject: Subject) -> Iterator[Found]:
    check = subject.config.healthcheck
    if check is None or check.test[:1] != ("CMD",) or len(check.test) < 2:
        return
    begun = start(subject.tree, replace(subject.config, entrypoint=check.test[1:], cmd=()), subject.scan)
    script = begun.task.script
    said = f"it is {' '.join(check.test[1:])}"
    if begun.missing:
        what = "its shebang's " if begun.chain else ""
        shell = ", a shell" if posixpath.basename(begun.missing) in SHELLS else ""
        yield Found(path="Healthcheck", evidence=f"{said}: {what}{begun.missing}{shell} is not in the image")
    elif script and posixpath.join(subject.working_dir, script) not in subject.tree:
        yield Found(path="Healthcheck", evidence=f"{said}: {script} is not in the image")
    elif script and (elf := subject.scan(posixpath.join(subject.working_dir, script)).elf):
        yield Found(path="Healthcheck", evidence=f"{said}: {script} is a program ({elf.machine} ELF), not a script")


RULES: Final = (
    Rule(
        id="STA013",
        severity=Severity.ERROR,
        title="the health check wants a shell",
        symptom='OCI runtime exec failed: exec: "/bin/sh": stat /bin/sh: no such file or directory; the container is'
        " unhealthy for ever",
        why="HEALTHCHECK CMD with a string instead of a list runs /bin/sh -c, and there is no shell.",
        fix='HEALTHCHECK CMD ["/usr/bin/python3", "-c", "import urllib.request as r; r.urlopen(…)"]',
        look=_health_shell,
    ),
    Rule(
        id="STA014",
        severity=Severity.ERROR,
        title="the health check's program is not in the image",
        symptom='OCI runtime exec failed: exec: "curl": executable file not found in $PATH; the container is unhealthy'
        " for ever",
        why="Distroless has neither curl nor wget.",
        fix='HEALTHCHECK CMD ["/usr/bin/python3", "-c", "import urllib.request as r; r.urlopen(…)"]',
        look=_health_program,
    ),
)
