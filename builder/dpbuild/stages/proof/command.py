"""INT: what the config tells a container to start, and whether the image has it."""

import functools
import io
import posixpath
from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.facts_interpreter import is_executable, which
from dpbuild.stages.proof.elsewhere import elsewhere, spans
from dpbuild.stages.proof.paths import code_of_pth, find_module, lines_of_pth
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

SHELLS: Final = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh"))
# A zip file ends with a record of 22 bytes and a comment (APPNOTE, 4.3.16).
_END_OF_ZIP: Final = b"PK\5\6"
_LONGEST_END: Final = 22 + (1 << 16)
_LARGEST_ARCHIVE: Final = 64 << 20
# What engines mount into every container.
_MOUNTED: Final = ("/dev/", "/proc/", "/sys/")


def _program_as_script(subject: Subject) -> Iterator[Found]:
    name = subject.start.task.script
    path = posixpath.join(subject.working_dir, name)
    elf = subject.scan(path).elf if name else None
    if elf is not None:
        yield Found(
            path=subject.real(path) or path,
            evidence=f"argv is {' '.join(subject.argv)}: the interpreter {subject.start.executable} would read the"
            f" program {name} ({elf.machine} ELF) as Python source",
        )


def _unfound(subject: Subject) -> str:
    """The word of argv that leads to no program, "" if all do; what shebangs lead to is not meant."""
    begun = subject.start
    return begun.missing if begun.by or not begun.chain else ""


def _by(subject: Subject) -> str:
    return f"; {subject.start.by} looks for it" if subject.start.by else ""


def _shell(subject: Subject) -> str:
    """The shell that would be started and is not there, by name; "" if there is nothing of the kind."""
    script = subject.start.task.script
    word = _unfound(subject) or script
    there = bool(script) and posixpath.join(subject.working_dir, script) in subject.tree
    return word if word and posixpath.basename(word) in SHELLS and not there else ""


def _without_shell(subject: Subject) -> Iterator[Found]:
    if shell := _shell(subject):
        yield Found(
            path=subject.said_in(shell),
            evidence=f"argv is {' '.join(subject.argv)}, and {shell} is not in the image",
        )


def _no_program(subject: Subject) -> Iterator[Found]:
    if not subject.argv:
        yield Found(
            path="Entrypoint",
            evidence="neither Entrypoint nor Cmd is set, so a container needs a command of its own",
            severity=Severity.NOTE,
        )
    word = _unfound(subject)
    if not word or _shell(subject):
        return
    where, by = subject.said_in(word), _by(subject)
    path = posixpath.join(subject.working_dir, word)
    if "/" not in word:
        there = [f"{row}/{word}" for row in subject.search_path if subject.tree.is_file(f"{row}/{word}")]
        if not there:
            yield Found(path=where, evidence=f"{word} is in no folder of PATH ({':'.join(subject.search_path)}){by}")
    elif path not in subject.tree:
        yield Found(path=where, evidence=f"{path} is not in the image{by}")
    elif subject.tree.is_directory(path):
        yield Found(path=where, evidence=f"{path} is a folder{by}")
    elif not subject.tree.is_file(path):
        link = subject.tree.get(path)
        target = link.target if link is not None else ""
        yield Found(path=path, evidence=f"it is a link to {target}, which is not in the image{by}")


def _not_executable(subject: Subject) -> Iterator[Found]:
    word = _unfound(subject)
    if not word:
        return
    folders = subject.search_path if "/" not in word else (subject.working_dir,)
    for path in (posixpath.join(folder, word) for folder in folders):
        if subject.tree.is_file(path) and not is_executable(subject.tree, path):
            entry = subject.tree.follow(path)
            mode = f"its mode is {entry.mode if entry else 0:04o}: nobody may execute it"
            yield Found(path=path, evidence=f"{mode}{_by(subject)}")


def _no_script(subject: Subject) -> Iterator[Found]:
    name = subject.start.task.script
    path = posixpath.join(subject.working_dir, name)
    if not name or _shell(subject) or path.startswith(_MOUNTED):
        return
    if subject.tree.is_directory(path):
        if not any(subject.tree.is_file(f"{path}/__main__{suffix}") for suffix in (".py", ".pyc")):
            yield Found(path=path, evidence="it is a folder without __main__.py")
    elif _is_archive(subject, path):
        yield Found(path=subject.real(path) or path, evidence="it is an archive without __main__.py")
    elif not subject.tree.is_file(path):
        mounted = any(f"{path}/".startswith(f"{volume.rstrip('/')}/") for volume in subject.config.volumes)
        yield Found(
            path=path,
            evidence=f"argv is {' '.join(subject.argv)}, and {path} is not in the image",
            fix=_instead(subject, name),
            severity=Severity.WARNING if mounted else None,
        )


def _is_archive(subject: Subject, path: str) -> bool:
    """Whether it is a zip file that Python cannot run, for lack of a __main__."""
    entry = subject.tree.follow(path)
    data = subject.contents.get(path) if entry is not None and entry.size <= _LARGEST_ARCHIVE else None
    if data is None or _END_OF_ZIP not in data[-_LONGEST_END:]:
        return False
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return not {"__main__.py", "__main__.pyc"}.intersection(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def _instead(subject: Subject, name: str) -> str:
    """What was meant by a Cmd that names a program where the Entrypoint is Python; "" if nothing is known."""
    program = which(subject.tree, subject.config, name) if "/" not in name else None
    if program is not None:
        return f"set Entrypoint to {program}; Cmd is given to the Entrypoint as arguments"
    if "/" not in name and _found(subject, name):
        return f"say -m {name}; Cmd is given to the Entrypoint, which is Python, as arguments"
    return ""


def _found(subject: Subject, module: str) -> tuple[str, ...]:
    folders = (*([subject.start.first] if subject.start.first else []), *subject.sys_path)
    suffixes = subject.facts.extension_suffixes if subject.facts is not None else ()
    return find_module(subject.tree, folders, module, suffixes, functools.partial(spans, subject))


def _no_module(subject: Subject) -> Iterator[Found]:
    name = subject.start.task.module
    if not name or subject.facts is None or not subject.tree.is_directory(subject.facts.stdlib):
        return
    places = _found(subject, name)
    if places and any(subject.tree.is_directory(row) for row in places):
        places = _found(subject, f"{name}.__main__")
        if not places:
            yield Found(
                path=subject.said_in(name), evidence=f"{name} is a package without __main__, which -m {name} would run"
            )
    elif not places:
        if any(_finder(subject, site) for site in subject.sys_path):
            return
        yield Found(
            path=subject.said_in(name),
            evidence=f"argv is {' '.join(subject.argv)}, and the module {name} is in none of"
            f" {', '.join(dict.fromkeys(row for row in (subject.start.first, *subject.sys_path) if row))}",
            fix=_meant(subject, name),
            severity=Severity.WARNING if elsewhere(subject) else None,
        )


def _meant(subject: Subject, name: str) -> str:
    """The module that a path leads to, or the installed package whose name is nearly this one; "" if there is none."""
    dotted = name.removesuffix(".py").strip("/").replace("/", ".")
    if dotted != name and _found(subject, dotted):
        return f"say -m {dotted}: -m takes a module's name, and no path"
    names = {row.name.replace("-", "_") for row in subject.distributions}
    import difflib

    (near,) = difflib.get_close_matches(name.partition(".")[0], sorted(names), 1) or [""]
    return f"did you mean -m {near}, which is installed?" if near else ""


def _finder(subject: Subject, site: str) -> bool:
    """Whether a .pth file brings an import hook or an archive, of which the files say nothing."""
    if any(subject.tree.is_file(path) for _, path in lines_of_pth(subject.tree, site, subject.scan)):
        return True
    texts = (subject.scan(path).text for path in code_of_pth(subject.tree, site, subject.scan))
    return any("__editable__" in text or "nspkg" in text for text in texts)


def _refused(subject: Subject) -> Iterator[Found]:
    word = subject.start.task.refused
    # A carriage return at the end of a first line is another rule's.
    if not word or word.endswith("\r") or subject.facts is None or subject.facts.implementation != "cpython":
        return
    scripted = word not in subject.argv
    last = word[-1] in "cmWX" and not word.startswith("--") and word == subject.argv[-1]
    what = f"the option {word} lacks its argument" if last else f"{subject.start.executable} knows no option {word}"
    one = "; all that follows the interpreter in a first line is one word to it" if scripted and " " in word else ""
    path = subject.real(subject.start.chain[0]) if scripted else None
    yield Found(path=path or subject.said_in(word), evidence=f"argv is {' '.join(subject.argv)}: {what}{one}")


RULES: Final = (
    Rule(
        id="INT002",
        severity=Severity.ERROR,
        title="a program is given to Python as a script",
        symptom="SyntaxError: Non-UTF-8 code starting with '\\x94' in file /usr/bin/python3 (3.11);"
        " SyntaxError: source code cannot contain null bytes (3.13)",
        why="The base's Entrypoint is already the interpreter, and Cmd is what it gets as arguments. A Cmd that"
        " begins with the interpreter makes Python read its own executable as source text. The versions and the"
        " ABI have nothing to do with it.",
        fix='leave the interpreter out of Cmd (CMD ["/app/main.py"]), or set Entrypoint yourself',
        look=_program_as_script,
    ),
    Rule(
        id="INT005",
        severity=Severity.ERROR,
        title="the program to start is not in the image",
        symptom='exec: "gunicorn": executable file not found in $PATH; exec: "/app/run": stat /app/run: no such file'
        " or directory",
        why="The first word of Entrypoint and Cmd is looked up along PATH of the image's Env, or is a path; it"
        " leads to no file.",
        fix="install what brings the program, or start Python with -m and the module's name",
        look=_no_program,
    ),
    Rule(
        id="INT006",
        severity=Severity.ERROR,
        title="the program to start may not be executed",
        symptom='exec: "/app/run": permission denied',
        why="The file is there, but no execute bit is set.",
        fix="set mode 0755 on the file, or give it to Python as a script",
        look=_not_executable,
    ),
    Rule(
        id="INT007",
        severity=Severity.ERROR,
        title="the script that Python is to run is not in the image",
        symptom="can't open file '//uvicorn': [Errno 2] No such file or directory",
        why="The base's Entrypoint is the interpreter, so the first word of Cmd that is no option is a script,"
        " and relative names count from the working directory. The name of a program is no script; a folder or zip"
        " file is one if it has a __main__.py.",
        fix="name a script that is there by its absolute path, use -m with a module, or set Entrypoint",
        look=_no_script,
    ),
    Rule(
        id="INT008",
        severity=Severity.ERROR,
        title="the module that Python is to run is nowhere on sys.path",
        symptom="/usr/bin/python3.13: No module named api",
        why="python -m looks through the working directory and sys.path. What lies elsewhere, for example in"
        " /usr/lib/python3.13/site-packages on Debian, is not found.",
        fix="install into the interpreter's own site directory, or add the folder to PYTHONPATH",
        look=_no_module,
    ),
    Rule(
        id="INT011",
        severity=Severity.ERROR,
        title="a shell is to be started, and there is none",
        symptom='exec: "/bin/sh": stat /bin/sh: no such file or directory; with Python as Entrypoint:'
        " can't open file '/bin/sh': [Errno 2] No such file or directory",
        why="The shell form of ENTRYPOINT and CMD, a string instead of a list, runs /bin/sh -c. Distroless images"
        " have no shell; in debug images it is /busybox/sh, not /bin/sh.",
        fix='write ENTRYPOINT and CMD as JSON lists: CMD ["-m", "api"]',
        look=_without_shell,
    ),
    Rule(
        id="INT013",
        severity=Severity.ERROR,
        title="Python is given an option that it does not know",
        symptom="unknown option --reload; Unknown option: -",
        why="What comes before the script or -m is for the interpreter itself, which ends with status 2 at an option"
        " that it does not know. So an argument of the app that stands first, or a first line with two options"
        " (#!/usr/bin/python3 -E -s), which the kernel gives to Python as one word.",
        fix="put the app's arguments behind the script or module; write the options of a first line together (-Es)",
        look=_refused,
    ),
)
