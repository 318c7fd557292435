"""Following the import of one module: what it would load, what it would look for, and how it ends."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.model.facts import Facts
from dpbuild.stages.proof import sources
from dpbuild.stages.proof.subject import Subject
from dpbuild.stages.proof.tracing import known
from dpbuild.stages.proof.tracing.finder import Finder
from dpbuild.stages.proof.tracing.flow import Frame
from dpbuild.stages.proof.tracing.libraries import Libraries
from dpbuild.stages.proof.tracing.statements import block
from dpbuild.stages.proof.tracing.values import (
    UNKNOWN,
    Cause,
    Class,
    Function,
    Known,
    Module,
    Raised,
    Scope,
    TooMuch,
    Value,
)

# The largest packages take a quarter of this.
_MOST_STEPS: Final = 600_000
_MOST_STEPS_OF_ALL: Final = 4_000_000
_DEEPEST: Final = 24
_LARGEST: Final = 4 << 20


@frozen
class Trace:
    """How the import of ``module`` ends: it ``fails`` for sure because of ``causes``, or goes well as far as one can
    tell. ``whole`` says that it is a package's own, not that of a module in it. ``seen`` is what failed on the way
    and was caught, ``loaded`` the extension modules that were loaded.
    """

    module: str
    whole: bool
    fails: bool
    causes: frozenset[Cause]
    seen: frozenset[Cause]
    loaded: frozenset[str]


@dataclass(slots=True)
class Budget:
    """The steps that are left for all traces of an image: nothing honest needs them."""

    left: int = _MOST_STEPS_OF_ALL


class Tracer:
    """Follows imports in one process that starts with ``import module``; made anew for each.

    ``followed`` are the modules whose sources are run; all others are taken to go well.
    """

    def __init__(
        self,
        subject: Subject,
        facts: Facts,
        libraries: Libraries,
        finder: Finder,
        followed: frozenset[str],
        budget: Budget,
    ) -> None:
        self.constants = known.constants(facts)
        self.functions = known.functions(subject, facts)
        self.frames: list[Frame] = []
        self._subject = subject
        self._finder = finder
        self._libraries = libraries
        self._followed = followed
        self._roots = frozenset(name.partition(".")[0] for name in followed)
        self._modules: dict[str, Module] = {}
        self._steps = 0
        self._budget = budget
        self._depth = 0

    def trace(self, module: str, *, whole: bool = True) -> Trace:
        """Follow ``import module``."""
        self.frames = [Frame()]
        fails, causes = False, frozenset[Cause]()
        try:
            self._import(module)
        except Raised as problem:
            fails, causes = True, problem.causes
        except (TooMuch, RecursionError):
            pass
        seen = frozenset(cause for frame in self.frames for cause in frame.seen)
        loaded = frozenset(self._libraries.modules)
        return Trace(module=module, whole=whole, fails=fails, causes=causes, seen=seen, loaded=loaded)

    # what expressions and statements ask for

    def step(self) -> None:
        """As ``Machine``."""
        self._steps += 1
        self._budget.left -= 1
        if self._steps > _MOST_STEPS or self._budget.left < 0:
            raise TooMuch

    def call(self, function: Function, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """As ``Machine``."""
        if self._depth >= _DEEPEST:
            return UNKNOWN
        names = _bound(function.node, arguments, keywords, self, function.scope)
        scope = Scope(function.scope.module, names, function.scope if function.scope.names else None)
        if function.scope.names is function.scope.module.names:
            scope.around = None
        frame = Frame()
        self.frames.append(frame)
        self._depth += 1
        try:
            flow = block(function.node.body, scope, self)
        finally:
            self._depth -= 1
            self.frames.pop()
            self.frames[-1].seen |= frame.seen
        if flow.raised is not None:
            raise flow.raised
        yields = _yields(function.node)
        if yields:
            return frame.yielded if yields == "statements" else UNKNOWN
        values = [*flow.returned, *([None] if flow.normal else [])]
        same = all(row is values[0] or (known.is_plain(row) and row == values[0]) for row in values[1:])
        return values[0] if values and same else UNKNOWN

    def construct(self, class_: Class, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """As ``Machine``."""
        function = class_.names.get("__init__")
        if isinstance(function, Function) and "__new__" not in class_.names:
            self.call(function, [UNKNOWN, *arguments], keywords)
        return UNKNOWN

    def open(self, name: Value, scope: Scope, line: int, *, cffi: bool) -> Value:
        """As ``Machine``."""
        causes = self._libraries.open(name, scope.module.path, line, cffi=cffi)
        if name is UNKNOWN:
            causes = self._libraries.mentioned(self._sources(scope.module.name.partition(".")[0]))
        if causes:
            raise Raised("OSError", causes)
        return UNKNOWN

    def find_library(self, name: Value, scope: Scope, line: int) -> Value:
        """As ``Machine``."""
        if not isinstance(name, str):
            return UNKNOWN
        found = self._libraries.find_library(name)
        if found is None:
            self.frames[-1].seen.add(Cause("find", name, scope.module.path, line))
        return found

    def import_module(self, name: str, scope: Scope) -> Value:
        """As ``Machine``."""
        # A package that looks for a module of its own name has put its folder first on sys.path.
        if name == scope.module.name and (inner := self._inner(name)):
            return self._load_extension(inner)
        self._import(name)
        return self._modules.get(name, UNKNOWN)

    def attribute(self, module: Module, name: str) -> Value:
        """As ``Machine``."""
        if name in module.names:
            value = module.names[name]
            return self.constants.get(value.name, value) if isinstance(value, Known) else value
        return self._modules.get(f"{module.name}.{name}", UNKNOWN)

    def import_statement(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        """As ``Runner``."""
        if isinstance(node, ast.Import):
            for row in node.names:
                self._import(row.name)
                name: str = row.name if row.asname else row.name.partition(".")[0]
                scope.set(row.asname or name, self._value(name))
            return
        name = self._absolute(node, scope)
        if not name:
            for row in node.names:
                scope.set(row.asname or row.name, UNKNOWN)
            return
        self._import(name)
        module = self._value(name)
        for row in node.names:
            if row.name == "*":
                if isinstance(module, Module):
                    scope.names.update({key: value for key, value in module.names.items() if not key.startswith("_")})
                continue
            scope.set(row.asname or row.name, self._from(module, name, row.name))

    # modules

    def _sources(self, root: str) -> Iterator[bytes]:
        """The sources of a package that have been run."""
        for name, module in self._modules.items():
            if name == root or name.startswith(f"{root}."):
                yield self._subject.contents.get(module.path) or b""

    def _from(self, module: Value, name: str, attribute: str) -> Value:
        if isinstance(module, Known):
            value = Known(f"{name}.{attribute}")
            return self.constants.get(value.name, value)
        if isinstance(module, Module) and attribute in module.names:
            return self.attribute(module, attribute)
        inner = f"{name}.{attribute}"
        if self._finder.find(name).folders and self._finder.find(inner).kind not in ("missing", "builtin"):
            self._import(inner)
            return self._value(inner)
        return UNKNOWN

    def _absolute(self, node: ast.ImportFrom, scope: Scope) -> str:
        if not node.level:
            return node.module or ""
        package = scope.module.names.get("__package__")
        parents = package.split(".") if isinstance(package, str) and package else []
        if node.level > len(parents):
            return ""
        return ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])

    def _value(self, name: str) -> Value:
        if name in self._modules:
            return self._modules[name]
        place = self._finder.find(name)
        return UNKNOWN if place.own else Known(name)

    def _import(self, name: str) -> None:
        """``import name``: its parents first."""
        parts = name.split(".")
        if parts[0] not in self._roots:
            place = self._finder.find(parts[0])
            if place.kind == "missing":
                raise Raised("ModuleNotFoundError")
            return
        for end in range(1, len(parts) + 1):
            self._one(".".join(parts[:end]))

    def _one(self, name: str) -> None:
        if name in self._modules:
            if (problem := self._modules[name].problem) is not None:
                raise problem
            return
        place = self._finder.find(name)
        module = Module(name, place.path, {"__name__": name, "__file__": place.path})
        module.names["__package__"] = name if place.folders else name.rpartition(".")[0]
        if place.kind == "missing":
            parent = self._modules.get(name.rpartition(".")[0])
            # A module may have put something into sys.modules by itself.
            if parent is not None:
                return
            raise Raised("ModuleNotFoundError")
        self._modules[name] = module
        if place.kind == "extension":
            try:
                self._load_extension(place.path)
            except Raised as problem:
                module.problem = problem
                raise
        elif place.kind == "source" and name in self._followed:
            self._run(module)

    def _run(self, module: Module) -> None:
        tree = self._parsed(module.path)
        if tree is None:
            return
        self.frames.append(Frame())
        try:
            flow = block(tree.body, Scope(module, module.names), self)
        finally:
            frame = self.frames.pop()
            self.frames[-1].seen |= frame.seen
        if flow.raised is not None:
            module.problem = flow.raised
            raise flow.raised

    def _load_extension(self, path: str) -> Value:
        causes = self._libraries.load(path)
        if causes:
            raise Raised("ImportError", causes)
        return UNKNOWN

    def _inner(self, name: str) -> str:
        """The extension module in a package that has the package's own name; "" if there is none."""
        place = self._finder.find(f"{name}.{name.rpartition('.')[2]}")
        return place.path if place.kind == "extension" else ""

    def _parsed(self, path: str) -> ast.Module | None:
        data = self._subject.contents.get(path)
        if data is None or len(data) > _LARGEST:
            return None
        return _parsed(data)


@functools.lru_cache(maxsize=4096)
def _parsed(data: bytes) -> ast.Module | None:
    """Several traces run the same sources."""
    return sources.parse(data)


@functools.lru_cache(maxsize=4096)
def _yields(node: ast.FunctionDef) -> str:
    """How a function yields: "" not at all, "statements" only for themselves, or "" else in "expressions"."""
    inner = [row for row in ast.walk(node) if isinstance(row, ast.Yield | ast.YieldFrom)]
    alone = [row for row in ast.walk(node) if isinstance(row, ast.Expr) and row.value in inner]
    return "" if not inner else "statements" if len(alone) == len(inner) else "expressions"


def _bound(
    node: ast.FunctionDef, arguments: list[Value], keywords: dict[str, Value], tracer: Tracer, scope: Scope
) -> dict[str, Value]:
    """The parameters of a call, with their defaults."""
    from dpbuild.stages.proof.tracing.expressions import evaluate

    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    names: dict[str, Value] = {}
    for row, default in zip(reversed(positional), reversed(spec.defaults), strict=False):
        names[row.arg] = evaluate(default, scope, tracer)
    for row, maybe in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        names[row.arg] = evaluate(maybe, scope, tracer) if maybe is not None else UNKNOWN
    for row in positional:
        names.setdefault(row.arg, UNKNOWN)
    for row, value in zip(positional, arguments, strict=False):
        names[row.arg] = value
    if spec.vararg:
        names[spec.vararg.arg] = tuple(arguments[len(positional) :])
    if spec.kwarg:
        names[spec.kwarg.arg] = UNKNOWN
    names.update({key: value for key, value in keywords.items() if key in names})
    if "" in keywords:
        names = dict.fromkeys(names, UNKNOWN)
    return names
