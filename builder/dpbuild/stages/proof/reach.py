"""Which sources an import executes: followed from file to file, without running any.

Only imports that happen whenever the module is imported are followed: not those in functions, under conditions, or
whose failure is caught. So what is reached is surely executed, and what is not reached may be.
"""

import ast
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dpbuild.stages.facts_stdlib import expected
from dpbuild.stages.proof import flow, sources
from dpbuild.stages.proof.subject import Subject

# No honest program comes near; beyond it nothing is said.
_MOST: Final = 5000
_FEW: Final = 10
# How many sources are searched in the time in which one is parsed.
_SEARCHED: Final = 40


class Modules:
    """The modules that the image's Python finds; ``before`` are folders that come before ``sys.path``."""

    def __init__(self, subject: Subject, before: Iterable[str] = ()) -> None:
        self._subject = subject
        self._folders = (*before, *subject.sys_path)
        self._suffixes = subject.facts.extension_suffixes if subject.facts else ()
        # By source: its import statements, where they had to be looked for.
        self._statements: dict[str, bytes] = {}

    @functools.cache  # noqa: B019 - lives as long as one check
    def find(self, name: str) -> str | None:
        """The file that importing ``name`` (dotted) executes, or the folder of a namespace; None if there is none."""
        if "/" in name:
            return None
        path = name.replace(".", "/")
        tree = self._subject.tree
        namespace = None
        for folder in self._folders:
            here = f"{folder}/{path}"
            endings = ("/__init__.py", "/__init__.pyc", ".py", ".pyc")
            for ending in (*endings, *self._suffixes, *(f"/__init__{row}" for row in self._suffixes)):
                if tree.is_file(here + ending):
                    return here + ending
            if namespace is None and tree.is_directory(here):
                namespace = here
        return namespace

    @functools.cache  # noqa: B019 - lives as long as one check
    def absent(self, name: str) -> bool:
        """Whether importing the top-level module ``name`` surely fails."""
        facts = self._subject.facts
        if facts is None or self.find(name) is not None:
            return False
        if name == "distutils" and self._has_setuptools():
            return False
        if facts.missing_modules is not None and name in facts.missing_modules:
            return True
        names = expected(facts.minor[1])
        return names is not None and name not in names

    def _has_setuptools(self) -> bool:
        """setuptools puts a distutils of its own in place, through this .pth file."""
        facts = self._subject.facts
        sites = facts.site_directories if facts else ()
        return any(self._subject.tree.is_file(f"{site}/distutils-precedence.pth") for site in sites)

    def reached(self, roots: Iterable[str], within: Callable[[str], bool], most: int = _MOST) -> dict[str, str]:
        """The sources that importing these modules (dotted), or running these files (absolute), executes.

        With each the source that imports it, "" for a root. Only files for which ``within`` holds are looked at, and
        no more when ``most`` are found.
        """
        return {path: via for path, (via, _) in self.reached_as(roots, within, most).items()}

    def reached_as(
        self, roots: Iterable[str], within: Callable[[str], bool], most: int = _MOST
    ) -> dict[str, tuple[str, str]]:
        """As ``reached``, and what each source is called (dotted); a file that is run has no name."""
        found: dict[str, tuple[str, str]] = {}
        pending: list[tuple[str, str]] = []

        def take(name: str, via: str) -> None:
            for dotted in _and_above(name):
                path = self.find(dotted)
                if path is not None and path.endswith(".py") and path not in found and within(path):
                    found[path] = (via, dotted)
                    pending.append((path, dotted))

        for root in roots:
            if root.startswith("/"):
                found[root] = ("", "")
                pending.append((root, ""))
            else:
                take(root, "")
        while pending and len(found) < most:
            path, module = pending.pop()
            for name in self._imports(path, module):
                take(name, path)
        return found

    def executed(self, roots: Iterable[str], paths: Iterable[str], site: str, files: frozenset[str]) -> frozenset[str]:
        """Those of the sources ``paths`` that importing one of the modules ``roots`` (dotted) surely executes.

        All are of one distribution, which has the sources ``files`` below ``site``. Where importing them executes few
        sources, these are followed. Else it is looked for from the end, for all of them at once: few sources mention
        a module, and only those are parsed.
        """
        roots, wanted = tuple(roots), frozenset(paths)
        most = len(files) // _SEARCHED
        ahead = self.reached(roots, (files | wanted).__contains__, most)
        if len(ahead) < most:
            return wanted.intersection(ahead)
        self._subject.contents.prefetch(files)
        leads: dict[str, set[str]] = {}
        pending, seen = wanted, set(wanted)
        while pending:
            importers = set()
            for other in self._mentioning(frozenset(_word(path).encode() for path in pending), files):
                if found := self._executed(other, site) & pending:
                    leads.setdefault(other, set()).update(found)
                    importers.add(other)
            pending = frozenset(importers - seen)
            seen |= pending
        reached: set[str] = set()
        ways = [path for root in roots if (path := self.find(root)) in seen and path is not None]
        while ways:
            if (path := ways.pop()) not in reached:
                reached.add(path)
                ways += leads.get(path, ())
        return wanted & reached

    def _mentioning(self, words: frozenset[bytes], files: frozenset[str]) -> Iterator[str]:
        """The sources with an import statement that may be of a module that one of these words names."""
        for path in sorted(files):
            known = self._statements.get(path)
            if known is None:
                text = self._subject.contents.get(path) or b""
                # Taking a source apart takes as long as ten searches through it.
                if len(words) < _FEW and not any(word in text for word in words):
                    continue
                known = self._statements[path] = import_statements(text)
            if any(word in known for word in words):
                yield path

    @functools.cache  # noqa: B019 - lives as long as one check
    def _executed(self, path: str, site: str) -> frozenset[str]:
        """The files that the imports of one source execute, without what those import."""
        module = path[len(site) + 1 :].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        names = {dotted for name in self._imports(path, module) for dotted in _and_above(name)}
        return frozenset(found for name in names if (found := self.find(name)) is not None)

    def names(self, path: str, top: str) -> bool:
        """Whether executing the source ``path`` surely imports the top-level module ``top``, absolutely."""
        tree = sources.parse(self._subject.contents.get(path) or b"")
        return tree is not None and any(
            any(row.name.partition(".")[0] == top for row in node.names)
            if isinstance(node, ast.Import)
            else not node.level and (node.module or "").partition(".")[0] == top
            for node in statements(tree)
        )

    def _imports(self, path: str, module: str) -> Iterator[str]:
        """The modules (dotted) that executing a source surely imports."""
        tree = sources.parse(self._subject.contents.get(path) or b"")
        if tree is None:
            return
        yield from _named(tree, package_of(path, module))


def named(code: str) -> tuple[str, ...]:
    """The modules (dotted) that ``python -c code`` surely imports."""
    tree = sources.parse(code.encode("utf-8", "surrogateescape"))
    return tuple(_named(tree, "")) if tree is not None else ()


def _named(tree: ast.AST, package: str) -> Iterator[str]:
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (row.name for row in node.names)
        elif base := base_of(node, package):
            yield base
            yield from (f"{base}.{row.name}" for row in node.names if row.name != "*")


def package_of(path: str, module: str) -> str:
    """What relative imports in the source ``path``, which is ``module`` (dotted), count from; "" without a package."""
    return module if path.endswith("/__init__.py") else module.rpartition(".")[0]


def base_of(node: ast.ImportFrom, package: str) -> str:
    """The module (dotted) that names are imported from; "" where a relative import leads out of all packages."""
    above = package.split(".") if package else []
    if node.level > len(above):
        return ""
    kept = above[: len(above) - node.level + 1] if node.level else []
    return ".".join([*kept, *((node.module or "").split(".") if node.module else [])])


def _and_above(name: str) -> Iterator[str]:
    """``a``, ``a.b`` and ``a.b.c``: all that importing the last executes."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def import_statements(text: bytes) -> bytes:
    """All that may belong to import statements of a source, and little else: parsing takes ten times as long.

    Lines with the word, whole parentheses that begin in one, and lines that go on in the next one.
    """
    found = []
    at = text.find(b"import")
    while at >= 0:
        begin = text.rfind(b"\n", 0, at) + 1
        while begin >= 2 and text[max(begin - 3, 0) : begin].endswith((b"\\\n", b"\\\r\n")):
            begin = text.rfind(b"\n", 0, begin - 1) + 1
        end = _line_end(text, at)
        line = text[at:end]
        if b"(" in line:
            # Each line is looked at once: one that never closes is as long as the source.
            while b")" not in line.partition(b"#")[0] and end < len(text):
                line = text[end + 1 : _line_end(text, end + 1)]
                end += 1 + len(line)
        found.append(text[begin:end])
        at = text.find(b"import", end)
    return b"\n".join(found)


def _line_end(text: bytes, at: int) -> int:
    """Where the line ends that ``at`` is in, and those in which it goes on."""
    while True:
        end = text.find(b"\n", at)
        if end < 0:
            return len(text)
        if not text[max(end - 2, 0) : end].endswith((b"\\", b"\\\r")):
            return end
        at = end + 1


def _word(path: str) -> str:
    """What an import statement calls the module of this file."""
    return path.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that are executed whenever the module is, and not caught."""
    for child, unsure in flow.children(node):
        match child:
            case _ if unsure:
                pass
            case ast.Import() | ast.ImportFrom():
                yield child
            case ast.stmt() if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from statements(child)
            case _:
                pass
