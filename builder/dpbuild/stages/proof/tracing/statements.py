"""Statements: which ways lead out of a block, and what names stand for behind it."""

import ast
import builtins
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from dpbuild.stages.proof.tracing import expressions, known
from dpbuild.stages.proof.tracing.expressions import evaluate
from dpbuild.stages.proof.tracing.flow import Flow, Frame
from dpbuild.stages.proof.tracing.values import UNKNOWN, Class, Function, Known, Raised, Scope, Value

# More rounds than this of a loop over known values are not followed.
_MOST_ROUNDS: Final = 64
# Context managers of the standard library that let every exception through.
_TRANSPARENT: Final = frozenset({"warnings.catch_warnings", "builtins.open", "threading.Lock", "threading.RLock"})
_HARMLESS: Final = frozenset({"functools.lru_cache", "functools.cache", "functools.wraps", "builtins.staticmethod"})


class Runner(expressions.Machine, Protocol):
    """What statements need of what holds the modules."""

    frames: list[Frame]

    def import_statement(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        """Run an import statement. Raises Raised."""


def block(body: Sequence[ast.stmt], scope: Scope, runner: Runner) -> Flow:
    """Run statements one after another."""
    flow = Flow()
    for node in body:
        runner.step()
        try:
            one = _HANDLERS.get(type(node), _skip)(node, scope, runner)
        except Raised as problem:
            one = Flow(normal=False, raised=problem)
        flow = Flow(normal=False, returned=flow.returned, broke=flow.broke, continued=flow.continued).join(one)
        if not flow.normal:
            return flow
    return flow


def _skip(statement: ast.stmt, scope: Scope, runner: Runner) -> Flow:
    """A statement that is not followed: what it might bind is not known any more."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            scope.set(node.id, UNKNOWN)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.set(node.name, UNKNOWN)
        elif isinstance(node, ast.alias):
            scope.set((node.asname or node.name).partition(".")[0], UNKNOWN)
        elif isinstance(node, ast.Call | ast.Subscript | ast.Attribute):
            # A method, or an assignment to a part, may change what a name stands for.
            of = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
            part = node.value if not isinstance(node, ast.Call) and isinstance(node.ctx, ast.Store) else None
            if isinstance(name := of or part, ast.Name) and isinstance(scope.get(name.id), list):
                scope.set(name.id, UNKNOWN)
        elif isinstance(node, ast.Yield | ast.YieldFrom):
            runner.frames[-1].yielded.append(UNKNOWN)
    # It may also leave the function with a value.
    returns = any(isinstance(node, ast.Return) for node in ast.walk(statement))
    return Flow(returned=[UNKNOWN] if returns else [])


def _either(one: Sequence[ast.stmt], other: Sequence[ast.stmt], scope: Scope, runner: Runner) -> Flow:
    """Both ways of a condition that is not known."""
    before = dict(scope.names)
    first = block(one, scope, runner)
    return _or_else(first, before, other, scope, runner)


def _or_else(first: Flow, before: dict[str, Value], other: Sequence[ast.stmt], scope: Scope, runner: Runner) -> Flow:
    """What was just run, or ``other`` instead, which begins with the names ``before``."""
    after = dict(scope.names)
    scope.names.clear()
    scope.names.update(before)
    second = block(other, scope, runner)
    if first.normal and second.normal:
        for name in {*after, *scope.names}:
            left, right = after.get(name, UNKNOWN), scope.names.get(name, UNKNOWN)
            if left is not right and not (known.is_plain(left) and known.is_plain(right) and left == right):
                scope.names[name] = UNKNOWN
    elif not second.normal:
        scope.names.clear()
        scope.names.update(after)
    return first.join(second)


def _if(node: ast.If, scope: Scope, runner: Runner) -> Flow:
    truth = known.truth(evaluate(node.test, scope, runner))
    if truth is None:
        return _either(node.body, node.orelse, scope, runner)
    return block(node.body if truth else node.orelse, scope, runner)


def _for(node: ast.For, scope: Scope, runner: Runner) -> Flow:
    rows = evaluate(node.iter, scope, runner)
    if not isinstance(rows, list | tuple) or len(rows) > _MOST_ROUNDS:
        return _skip(node, scope, runner)
    total = Flow(normal=False)
    for row in list(rows):
        _bind(node.target, row, scope, runner)
        one = block(node.body, scope, runner)
        total.returned += one.returned
        total.broke = total.broke or one.broke
        if one.raised is not None:
            return Flow(normal=total.broke, returned=total.returned).join(Flow(normal=False, raised=one.raised))
        if not (one.normal or one.continued):
            return Flow(normal=total.broke, returned=total.returned)
    last = block(node.orelse, scope, runner)
    return Flow(normal=total.broke, returned=total.returned).join(last)


def _while(node: ast.While, scope: Scope, runner: Runner) -> Flow:
    if known.truth(evaluate(node.test, scope, runner)) is False:
        return block(node.orelse, scope, runner)
    return _skip(node, scope, runner)


def _try(node: ast.Try, scope: Scope, runner: Runner) -> Flow:
    before = dict(scope.names)
    frame = runner.frames[-1]
    flow = block(node.body, scope, runner)
    if flow.raised is not None:
        problem = flow.raised
        handler = next((row for row in node.handlers if _catches(row.type, problem, scope, runner)), None)
        if handler is not None:
            frame.seen |= problem.causes
            frame.handling.append(problem)
            if handler.name:
                scope.set(handler.name, UNKNOWN)
            flow = block(handler.body, scope, runner)
            frame.handling.pop()
    else:
        if flow.normal and node.orelse:
            rest = Flow(normal=False, returned=flow.returned, broke=flow.broke, continued=flow.continued)
            flow = rest.join(block(node.orelse, scope, runner))
        # Something that is not followed may have failed as well.
        frame.handling.append(Raised("Exception"))
        for row in node.handlers:
            start = {**before, row.name: UNKNOWN} if row.name else before
            flow = _or_else(flow, start, row.body, scope, runner)
        frame.handling.pop()
    last = block(node.finalbody, scope, runner)
    return flow if last.normal else last


def _catches(node: ast.expr | None, problem: Raised, scope: Scope, runner: Runner) -> bool:
    """Whether ``except node`` takes the exception; where that is not known it does."""
    if node is None:
        return True
    value = evaluate(node, scope, runner)
    return any(_is_a(problem.type, row) for row in (value if isinstance(value, tuple) else (value,)))


def _is_a(name: str, value: Value) -> bool:
    if not isinstance(value, Known):
        return True
    kind, other = getattr(builtins, name, None), getattr(builtins, value.name.rpartition(".")[2], None)
    if not isinstance(kind, type) or not isinstance(other, type):
        return True
    return issubclass(kind, other)


def _with(node: ast.With, scope: Scope, runner: Runner) -> Flow:
    suppressed: list[Value] = []
    opaque = False
    for item in node.items:
        call = item.context_expr
        function = evaluate(call.func, scope, runner) if isinstance(call, ast.Call) else UNKNOWN
        evaluate(call, scope, runner)
        name = function.name if isinstance(function, Known) else ""
        if name == "contextlib.suppress" and isinstance(call, ast.Call):
            suppressed += [evaluate(row, scope, runner) for row in call.args]
        elif name not in _TRANSPARENT:
            opaque = True
        if item.optional_vars is not None:
            _bind(item.optional_vars, UNKNOWN, scope, runner)
    flow = block(node.body, scope, runner)
    if flow.raised is not None and (opaque or any(_is_a(flow.raised.type, row) for row in suppressed)):
        runner.frames[-1].seen |= flow.raised.causes
        return Flow()
    return flow


def _raise(node: ast.Raise, scope: Scope, runner: Runner) -> Flow:
    frame = runner.frames[-1]
    current = frame.handling[-1] if frame.handling else None
    if node.exc is None:
        raise current if current is not None else Raised("Exception")
    call = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    evaluate(node.exc, scope, runner)
    name = call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "Exception")
    value = evaluate(call, scope, runner)
    if not isinstance(value, Known):
        name = "Exception" if isinstance(value, Class) else name
    causes = current.causes if current is not None and current.causes else frozenset(frame.seen)
    raise Raised(name, causes)


def _assert(node: ast.Assert, scope: Scope, runner: Runner) -> Flow:
    if known.truth(evaluate(node.test, scope, runner)) is False:
        raise Raised("AssertionError", frozenset(runner.frames[-1].seen))
    return Flow()


def _import(node: ast.Import | ast.ImportFrom, scope: Scope, runner: Runner) -> Flow:
    runner.import_statement(node, scope)
    return Flow()


def _function(node: ast.FunctionDef, scope: Scope, runner: Runner) -> Flow:
    harmless = True
    for row in node.decorator_list:
        value = evaluate(row.func if isinstance(row, ast.Call) else row, scope, runner)
        evaluate(row, scope, runner)
        harmless = harmless and isinstance(value, Known) and value.name in _HARMLESS
    scope.set(node.name, Function(node, scope) if harmless else UNKNOWN)
    return Flow()


def _class(node: ast.ClassDef, scope: Scope, runner: Runner) -> Flow:
    for row in (*node.decorator_list, *node.bases):
        evaluate(row, scope, runner)
    inner = Scope(scope.module, {}, scope)
    flow = block(node.body, inner, runner)
    if flow.raised is not None:
        raise flow.raised
    plain = not node.decorator_list and not node.keywords
    scope.set(node.name, Class(node, scope, inner.names) if plain else UNKNOWN)
    return Flow()


def _assign(node: ast.Assign, scope: Scope, runner: Runner) -> Flow:
    value = evaluate(node.value, scope, runner)
    for target in node.targets:
        _bind(target, value, scope, runner)
    return Flow()


def _annotated(node: ast.AnnAssign, scope: Scope, runner: Runner) -> Flow:
    if node.value is not None:
        _bind(node.target, evaluate(node.value, scope, runner), scope, runner)
    return Flow()


def _augmented(node: ast.AugAssign, scope: Scope, runner: Runner) -> Flow:
    if isinstance(node.target, ast.Name):
        both = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        scope.set(node.target.id, evaluate(both, scope, runner))
    else:
        evaluate(node.value, scope, runner)
    return Flow()


def _bind(target: ast.expr, value: Value, scope: Scope, runner: Runner) -> None:
    if isinstance(target, ast.Name):
        scope.set(target.id, value)
    elif isinstance(target, ast.List | ast.Tuple):
        fits = isinstance(value, list | tuple) and len(value) == len(target.elts)
        for index, row in enumerate(target.elts):
            _bind(row, value[index] if fits and not isinstance(row, ast.Starred) else UNKNOWN, scope, runner)
    elif isinstance(target, ast.Starred):
        _bind(target.value, UNKNOWN, scope, runner)


def _expression(node: ast.Expr, scope: Scope, runner: Runner) -> Flow:
    value = node.value
    if isinstance(value, ast.Yield | ast.YieldFrom):
        inner = evaluate(value.value, scope, runner) if value.value else None
        many = isinstance(value, ast.YieldFrom)
        rows = (list(inner) if isinstance(inner, list | tuple) else [UNKNOWN]) if many else [inner]
        runner.frames[-1].yielded += rows
    else:
        evaluate(value, scope, runner)
    return Flow()


def _return(node: ast.Return, scope: Scope, runner: Runner) -> Flow:
    value = evaluate(node.value, scope, runner) if node.value is not None else None
    return Flow(normal=False, returned=[value])


def _global(node: ast.Global, scope: Scope, _runner: Runner) -> Flow:
    scope.declared_global.update(node.names)
    return Flow()


_HANDLERS: Final[dict[type[ast.stmt], Callable[[Any, Scope, Runner], Flow]]] = {
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.Try: _try,
    ast.With: _with,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.FunctionDef: _function,
    ast.ClassDef: _class,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Expr: _expression,
    ast.Return: _return,
    ast.Global: _global,
    ast.Break: lambda node, scope, runner: Flow(normal=False, broke=True),
    ast.Continue: lambda node, scope, runner: Flow(normal=False, continued=True),
}
