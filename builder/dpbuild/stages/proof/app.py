"""The app in an image: the sources that belong to no package, and the distribution that is started."""

from dataclasses import dataclass
from typing import Final

from dpbuild.stages.proof.interpreter import script
from dpbuild.stages.proof.modules import top_level
from dpbuild.stages.proof.reach import Modules
from dpbuild.stages.proof.subject import Subject

# An image may have a whole home directory in it; beyond this the rest is not looked at.
_MOST_FILES: Final = 2000
_MOST_BYTES: Final = 32 << 20
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """``files`` are the app's sources; ``entry`` the module (dotted) or file (absolute) that is started, or ""."""

    files: tuple[str, ...]
    entry: str
    modules: Modules


def find_app(subject: Subject) -> App:
    """The app of an image. Looks at names and owners only."""
    entry, folder = _entry(subject)
    modules = Modules(subject, [folder] if folder else [])
    started = entry if entry.startswith("/") else (modules.find(entry) if entry else None) or ""
    own = subject.owner(started) if started else ""
    facts = subject.facts
    stdlib = f"{facts.stdlib}/" if facts else "//"
    files: list[str] = []
    size = 0
    for path in (f"/{row}" for row in subject.tree.paths() if row.endswith(".py")):
        if path.startswith(stdlib):
            continue
        # What lies among installed packages is the app's if its distribution says so; elsewhere, if none does.
        wanted = own if any(part in path for part in _INSTALLED) else ""
        if (wanted or not own) and subject.owner(path) == wanted:
            info = subject.tree.follow(path)
            size += info.size if info else 0
            if len(files) >= _MOST_FILES or size > _MOST_BYTES:
                break
            files.append(path)
    subject.contents.prefetch(files)
    return App(files=tuple(files), entry=entry, modules=modules)


def _entry(subject: Subject) -> tuple[str, str]:
    """What is started, and the folder that this puts first on ``sys.path`` (sys.path, "Initialization")."""
    safe = bool(subject.config.variable("PYTHONSAFEPATH"))
    if not subject.starts_python:
        program = subject.program
        if program is not None and "python" in subject.scan(program).shebang:
            return program, "" if safe else program.rpartition("/")[0]
        return "", ""
    arguments = subject.argv[1:]
    name = script(arguments)
    if name:
        path = name if name.startswith("/") else f"{subject.working_dir.rstrip('/')}/{name}"
        real = subject.real(path)
        if real is None:
            return "", ""
        if subject.tree.is_directory(real):
            return f"{real}/__main__.py", real
        return real, "" if safe else real.rpartition("/")[0]
    for position, word in enumerate(arguments):
        if word == "-m" and position + 1 < len(arguments):
            module = arguments[position + 1]
            found = Modules(subject, () if safe else (subject.working_dir,)).find(module) or ""
            main = f"{module}.__main__" if found.endswith("/__init__.py") else module
            return main, "" if safe else subject.working_dir
    return "", ""


def modules_of(subject: Subject, owner: str) -> tuple[str, ...]:
    """The top-level modules of the distribution with this name and version."""
    facts = subject.facts
    for row in subject.distributions:
        if str(row) == owner and facts is not None:
            return top_level(row, subject.contents, facts)
    return ()
