"""The app in an image: the sources that belong to no package, and the distribution that is started."""

import functools
import posixpath
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.stages.proof.modules import top_level
from dpbuild.stages.proof.reach import Modules, named
from dpbuild.stages.proof.served import Served, served, server_of
from dpbuild.stages.proof.subject import Subject

# An image may have a whole home directory in it; beyond this the rest is not looked at.
_MOST_FILES: Final = 2000
_MOST_BYTES: Final = 32 << 20
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")


@frozen
class App:
    """``files`` are the app's sources; ``entry`` the module (dotted) or file (absolute) that is started, or "".

    With ``served`` it is what a server is told to load.
    """

    files: tuple[str, ...]
    entry: str
    modules: Modules
    served: Served | None = None


@functools.lru_cache(maxsize=4)
def find_app(subject: Subject) -> App:
    """The app of an image. Looks at names and owners only."""
    entry, folder = _entry(subject)
    # What is not there serves nothing: that is another rule's to tell.
    server = server_of(subject.start) if entry else ""
    told = served(subject.start, subject.config) if server else None
    if told is not None:
        entry, folder = told.module, told.folder
    elif server:
        # What it loads is not known; the server itself is not the app.
        entry = ""
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
        wanted = own if own and any(part in path for part in _INSTALLED) else ""
        if (wanted or not own) and subject.owner(path) == wanted:
            info = subject.tree.follow(path)
            size += info.size if info else 0
            if len(files) >= _MOST_FILES or size > _MOST_BYTES:
                break
            files.append(path)
    subject.contents.prefetch(files)
    return App(files=tuple(files), entry=entry, modules=modules, served=told)


@functools.lru_cache(maxsize=4)
def executed(subject: Subject) -> dict[str, str]:
    """The app's sources that are surely executed when it is started, each with the one that imports it, or ""."""
    return {path: via for path, (via, _) in executed_as(subject).items()}


@functools.lru_cache(maxsize=4)
def executed_as(subject: Subject) -> dict[str, tuple[str, str]]:
    """As ``executed``, and what each source is called as a module (dotted), "" for a script."""
    app = find_app(subject)
    roots = (app.entry,) if app.entry else named(subject.start.task.code)
    return app.modules.reached_as(roots, set(app.files).__contains__)


def _entry(subject: Subject) -> tuple[str, str]:
    """What is started, and the folder that this puts first on ``sys.path`` (sys.path, "Initialization")."""
    told, first = subject.start.task, subject.start.first
    if told.script:
        real = subject.real(posixpath.join(subject.working_dir, told.script))
        if real is None:
            return "", ""
        return (f"{real}/__main__.py" if subject.tree.is_directory(real) else real), first
    if told.module:
        found = Modules(subject, [first] if first else []).find(told.module) or ""
        return (f"{told.module}.__main__" if found.endswith("/__init__.py") else told.module), first
    return "", first if told.code else ""


def modules_of(subject: Subject, owner: str) -> tuple[str, tuple[str, ...]]:
    """The site directory and the top-level modules of the distribution with this name and version."""
    facts = subject.facts
    for row in subject.distributions:
        if str(row) == owner and facts is not None:
            return row.site, top_level(row.site, subject.files_of(owner), facts)
    return "", ()
