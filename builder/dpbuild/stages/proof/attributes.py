"""RUN: names and submodules that the app imports of its own modules, which do not have them."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.facts_stdlib import expected
from dpbuild.stages.proof import sources
from dpbuild.stages.proof.app import App, executed_as, find_app
from dpbuild.stages.proof.elsewhere import elsewhere, extends
from dpbuild.stages.proof.names import Names, names_of
from dpbuild.stages.proof.reach import base_of, package_of, statements
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

_DUNDER: Final = re.compile(r"__\w+__")


class _Own:
    """The app's own modules."""

    def __init__(self, subject: Subject, app: App) -> None:
        self._app = app
        self._files = frozenset(app.files)
        self._contents = subject.contents
        facts = subject.facts
        self._standard = (expected(facts.minor[1]) or frozenset()) if facts is not None else frozenset()
        self._names: dict[str, Names | None] = {}

    def names(self, path: str) -> Names | None:
        """The names of one of the app's sources; None for what is none, and where Python could not read it."""
        if path not in self._names:
            tree = sources.parse(self._contents.get(path) or b"") if path in self._files else None
            self._names[path] = names_of(tree) if tree is not None else None
        return self._names[path]

    def lacks(self, module: str, name: str, *, submodule: bool) -> str:
        """The file of ``module`` (dotted), if that surely has no ``name``; "" otherwise.

        With ``submodule`` it has to be a module of the package. Python may have loaded modules of its own before
        it looks for the app's.
        """
        path = self._app.modules.find(module)
        names = self.names(path) if path is not None and path.endswith(".py") else None
        if path is None or names is None or not names.known or module.partition(".")[0] in self._standard:
            return ""
        package = path.endswith("/__init__.py")
        if package and self._app.modules.find(f"{module}.{name}") is not None:
            return ""
        if not submodule and (name in names.bound or _DUNDER.fullmatch(name)):
            return ""
        # Other modules may put it there.
        others = [self.names(row) for row in self._files]
        return "" if any(row is None or row.sets or name in row.stored for row in others) else path


def _wanted(node: ast.Import | ast.ImportFrom, base: str) -> Iterator[tuple[str, str, bool]]:
    """Each module (dotted) with what is wanted of it, and whether that has to be a module."""
    names = [row.name for row in node.names] if isinstance(node, ast.Import) else [base]
    for name in names:
        parts = name.split(".")
        yield from ((".".join(parts[:at]), parts[at], True) for at in range(1, len(parts)))
    if isinstance(node, ast.ImportFrom):
        yield from ((base, row.name, False) for row in node.names if row.name != "*")


def _lacking(subject: Subject) -> Iterator[Found]:
    app = find_app(subject)
    own, files = _Own(subject, app), frozenset(app.files)
    doubt = bool(elsewhere(subject)) or any(extends(subject.contents.get(path) or b"") for path in app.files)
    for path, (_, module) in executed_as(subject).items():
        data = subject.contents.get(path) or b""
        # A script that an installer makes for an entry point is a source like others, whatever it is called.
        tree = sources.parse(data) if path in files or path == app.entry else None
        for node in statements(tree) if tree is not None else ():
            told = _why(node, own, package_of(path, module), own_package=b"__package__" in data)
            if told:
                severity = Severity.WARNING if doubt else None
                yield Found(path=path, evidence=f"line {node.lineno}: {told}", severity=severity)


def _why(node: ast.Import | ast.ImportFrom, own: _Own, package: str, *, own_package: bool) -> str:
    """Why an import statement fails, "" if it may succeed."""
    base = base_of(node, package) if isinstance(node, ast.ImportFrom) else ""
    if isinstance(node, ast.ImportFrom) and not base:
        dots = "." * node.level + (node.module or "")
        where = f"the package {package}" if package else "what is run as a script, or lies in no package"
        return "" if own_package else f"from {dots} import …: {where} has nothing above it"
    for module, name, submodule in _wanted(node, base):
        path = own.lacks(module, name, submodule=submodule)
        if path and submodule and not path.endswith("/__init__.py"):
            return f"import {module}.{name}: {path} is a module, and no package"
        if path:
            what = f"import {module}.{name}" if submodule else f"from {module} import {name}"
            return f"{what}: {path} has no {name}"
    return ""


RULES: Final = (
    Rule(
        id="RUN011",
        severity=Severity.ERROR,
        title="the app imports what its own module does not have",
        symptom="ImportError: cannot import name 'main' from 'api' (/app/api.py); ModuleNotFoundError: No module named"
        " 'api.sub'; 'api' is not a package; ImportError: attempted relative import with no known parent package",
        why="A name was changed, [project.scripts] names what is not there, a file did not come along, or a module"
        " hides a package of the same name; and what is run as a script belongs to no package, so its relative"
        " imports fail. Told of the app's own sources only, where nothing in them makes up names (import *, globals(),"
        " __getattr__, setattr); a warning where the app extends sys.path.",
        fix="import what is there; start a module of a package with -m",
        look=_lacking,
    ),
)
