"""SCR: scripts whose first line leads nowhere, or that no kernel starts."""

import posixpath
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.frozen import frozen
from dpbuild.model.finding import Severity
from dpbuild.stages.facts_interpreter import is_python, which
from dpbuild.stages.proof.command import SHELLS
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.start import interpreter
from dpbuild.stages.proof.subject import Subject
from dpbuild.stages.proof.wrappers import wrapped

# Linux, include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE: what is read of a file's beginning.
_LONGEST: Final = 256


@frozen(kw_only=False)
class _Script:
    """``line`` is what follows ``#!``; ``started`` says that a container begins with it."""

    path: str
    line: str
    started: bool

    @property
    def words(self) -> list[str]:
        """The interpreter, and all that follows it: the kernel makes one argument of that."""
        return self.line.rstrip("\r").split(None, 1)


def _scripts(subject: Subject) -> Iterator[_Script]:
    """What has a shebang and is started, or lies where programs are looked for."""
    started = {real for path in subject.start.chain if (real := subject.real(path))}
    folders = {real for row in subject.search_path if (real := subject.real(row))}
    for path, scan in subject.scanned.items():
        folder = posixpath.dirname(path)
        if scan.shebang and (path in started or folder in folders or folder.endswith("/bin")):
            yield _Script(path, scan.shebang, path in started)


def _found(subject: Subject, row: _Script, evidence: str) -> Iterator[Found]:
    """An error in what a container starts; nothing in what the base's own packages bring, such as ldd."""
    if row.started:
        yield Found(path=row.path, evidence=evidence, severity=Severity.ERROR)
        return
    packages = {f"{each.name} {each.version}" for each in subject.facts.packages} if subject.facts else set()
    if subject.owner(row.path) not in packages:
        shell = bool(row.words) and posixpath.basename(row.words[0]) in SHELLS
        yield Found(path=row.path, evidence=evidence, severity=Severity.NOTE if shell else Severity.WARNING)


def _lost(subject: Subject) -> Iterator[Found]:
    for row in _scripts(subject):
        if not row.words or row.line.endswith("\r") or _too_long(row.line) or _wants_env(subject, row):
            continue
        why = _why(subject, row.words[0], by_kernel=True)
        if not why and posixpath.basename(row.words[0]) == "env":
            words = wrapped(row.words[0], [*row.words[1:], row.path])
            why = _why(subject, words[0]) if words else ""
        if why:
            yield from _found(subject, row, f"#!{row.line}: {why}")


def _wants_env(subject: Subject, row: _Script) -> bool:
    """Whether it needs env, and there is none."""
    return posixpath.basename(row.words[0]) == "env" and not subject.tree.is_file(row.words[0])


def _why(subject: Subject, word: str, *, by_kernel: bool = False) -> str:
    """Why nothing can be executed at a word; "" if something can."""
    path = interpreter(subject.config, word) if by_kernel else word
    if which(subject.tree, subject.config, path) is not None:
        return ""
    if "/" not in path:
        one = "; what follows env is one word without env's option -S" if " " in word else ""
        return f"{word} is in no folder of PATH{one}"
    here = path
    for _ in range(8):
        entry = subject.tree.get(here)
        if entry is None:
            break
        if entry.kind is not Kind.SYMLINK:
            return f"{path} may not be executed"
        here = posixpath.normpath(posixpath.join(posixpath.dirname(f"/{entry.path}"), entry.target))
    known = "" if "/" in word else "; the kernel does not look along PATH"
    return (
        f"{path} is not in the image{known}"
        if here == path
        else f"{path} is a link to {here}, which is not in the image"
    )


def _without_env(subject: Subject) -> Iterator[Found]:
    for row in _scripts(subject):
        if row.words and not row.line.endswith("\r") and _wants_env(subject, row):
            yield from _found(subject, row, f"#!{row.line}: {row.words[0]} is not in the image")


def _too_long(line: str) -> bool:
    """Whether the kernel cannot see where the interpreter's path ends."""
    path = line.split(None, 1)[0] if line.strip() else ""
    return line.index(path) + len(path.encode()) + len("#!") >= _LONGEST


def _long(subject: Subject) -> Iterator[Found]:
    for row in _scripts(subject):
        if row.words and _too_long(row.line):
            size = len(row.words[0].encode())
            evidence = f"the interpreter's path in its first line has {size} bytes or more"
            yield from _found(subject, row, f"{evidence}; the kernel reads {_LONGEST} of the file")


def _carriage_return(subject: Subject) -> Iterator[Found]:
    for row in _scripts(subject):
        if row.line.endswith("\r"):
            part = "argument" if len(row.words) > 1 else "name"
            evidence = f"#!{row.line[:-1]} is followed by a carriage return, which is part of the {part}"
            yield from _found(subject, row, evidence)


def _not_executable(subject: Subject) -> Iterator[Found]:
    folders = {real for row in subject.search_path if (real := subject.real(row))}
    for row in _scripts(subject):
        entry = subject.tree.follow(row.path)
        if not row.started and posixpath.dirname(row.path) in folders and entry and not entry.mode & 0o111:
            yield from _found(subject, row, f"its mode is {entry.mode:04o}: nobody may execute it")


def _windows(subject: Subject) -> Iterator[Found]:
    words = (subject.argv[0] if subject.argv else "", subject.start.task.script)
    if any(word.lower().endswith(".exe") for word in words):
        yield Found(path="Entrypoint", evidence=f"argv is {' '.join(subject.argv)}", severity=Severity.ERROR)
    for folder in dict.fromkeys(subject.real(row) for row in subject.search_path):
        for name in subject.tree.children(folder) if folder else ():
            if name.lower().endswith(".exe"):
                yield Found(path=f"{folder}/{name}", evidence="it is named like a program for Windows")


def _no_format(subject: Subject) -> Iterator[Found]:
    path = subject.start.chain[-1] if subject.start.chain else ""
    if not path or subject.start.missing or subject.start.executable:
        return
    scan = subject.scan(path)
    if scan.elf is None and not scan.shebang:
        entry = subject.tree.follow(path)
        what = "it is empty" if entry is None or not entry.size else scan.broken or "it has no #! in its first line"
        yield Found(path=subject.real(path) or path, evidence=f"{what}, and it is no ELF file that can be started")


def _other_python(subject: Subject) -> Iterator[Found]:
    """Scripts of distributions on sys.path that another Python than that of the image would run."""
    facts = subject.facts
    if facts is None:
        return
    for row in _scripts(subject):
        program = row.words[0] if row.words else ""
        real = subject.real(program) if program.startswith("/") else None
        if real is None or real == facts.interpreter or not is_python(subject.tree, real):
            continue
        owner = subject.owner(row.path)
        sites = {subject.real(site) for site in subject.sys_path}
        if any(str(dist) == owner and subject.real(dist.site) in sites for dist in subject.distributions):
            evidence = f"#!{row.line}: its package is on the path of {facts.interpreter}, not of {real}"
            yield from _found(subject, row, evidence)


RULES: Final = (
    Rule(
        id="SCR001",
        severity=Severity.WARNING,
        title="a script's interpreter is not in the image",
        symptom="exec /app/.venv/bin/granian: no such file or directory, although the file is there",
        why="The kernel starts the program that the first line names. Virtual environments and pip --target write"
        " the path of the Python that installed them (#!/root/.pyenv/…, #!/app/.venv/bin/python with a link to"
        " /usr/local/bin/python), which the base has somewhere else. It is an error where a container starts the"
        " script, and a note where a package's script wants a shell.",
        fix="write scripts with the base's interpreter in the first line, or start the module with -m",
        look=_lost,
    ),
    Rule(
        id="SCR002",
        severity=Severity.WARNING,
        title="a script wants env, and there is none",
        symptom="exec /app/run: no such file or directory; env: not found",
        why="#!/usr/bin/env python3 needs the program env, which belongs to coreutils or busybox. Distroless images"
        " have neither. It is an error where a container starts the script.",
        fix="name the base's interpreter in the first line, or give the script to Python",
        look=_without_env,
    ),
    Rule(
        id="SCR003",
        severity=Severity.WARNING,
        title="a script's first line is too long",
        symptom="exec /app/bin/tool: exec format error",
        why="Linux reads the first 256 bytes of a file to find its interpreter; a path that does not end there is no"
        " path.",
        fix="install to a shorter path",
        look=_long,
    ),
    Rule(
        id="SCR004",
        severity=Severity.WARNING,
        title="a script's first line ends like on Windows",
        symptom="exec /app/run: no such file or directory",
        why="With CRLF as line ending, the carriage return becomes part of the interpreter's name.",
        fix="store the file with LF line endings (git: text eol=lf)",
        look=_carriage_return,
    ),
    Rule(
        id="SCR005",
        severity=Severity.WARNING,
        title="a script in PATH may not be executed",
        symptom='exec: "tool": permission denied',
        why="No execute bit is set. Copying from Windows or unpacking a wheel with a plain unzip loses it.",
        fix="set mode 0755 on the file, or install the wheel with an installer",
        look=_not_executable,
    ),
    Rule(
        id="SCR006",
        severity=Severity.WARNING,
        title="a launcher for Windows",
        symptom="exec format error",
        why="Installers on Windows write .exe launchers instead of scripts. They do not run on Linux.",
        fix="install for Linux, not on Windows",
        look=_windows,
    ),
    Rule(
        id="SCR007",
        severity=Severity.ERROR,
        title="the program to start is no program",
        symptom="exec /app/run: exec format error",
        why="The kernel starts ELF files and files whose first line names an interpreter. There is no shell that would"
        " try the rest.",
        fix="begin the script with #! and the interpreter's path, or give it to Python as an argument",
        look=_no_format,
    ),
    Rule(
        id="SCR008",
        severity=Severity.WARNING,
        title="a script runs with another Python than its package is installed for",
        symptom="ModuleNotFoundError in a script of an installed package",
        why="The image has more than one Python, and the first line leads to one that does not look where the"
        " script's package lies.",
        fix="install the package with the Python that is to run it",
        look=_other_python,
    ),
)
