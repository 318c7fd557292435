"""The value of an expression, as far as it is known."""

import ast
import operator
from collections.abc import Callable
from typing import Final, Protocol

from dpbuild.stages.proof.tracing import known
from dpbuild.stages.proof.tracing.values import UNKNOWN, Class, Function, Known, Module, Raised, Scope, Value

# What runs later, or with names of its own.
_NOT_RUN: Final = (ast.Lambda, ast.SetComp, ast.DictComp)
# More elements than this are not looked at one by one.
_MOST_ROUNDS: Final = 64
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Value, Value], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_BINARY: Final[dict[type[ast.operator], Callable[[Value, Value], Value]]] = {
    ast.Add: operator.add,
    ast.Mod: operator.mod,
    ast.Sub: operator.sub,
    ast.BitOr: operator.or_,
}
# What opens a library: ctypes' classes and loaders, cffi's method.
_OPENS: Final = frozenset({"CDLL", "PyDLL", "LoadLibrary", "dlopen"})


class Machine(Protocol):
    """What expressions need of what runs the statements."""

    constants: dict[str, Value]
    functions: dict[str, Callable[..., Value]]

    def step(self) -> None:
        """Count one step. Raises TooMuch."""

    def call(self, function: Function, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """Call a function of a source. Raises Raised."""

    def construct(self, class_: Class, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """Make an instance. Raises Raised."""

    def open(self, name: Value, scope: Scope, line: int, *, cffi: bool) -> Value:
        """dlopen. Raises Raised."""

    def find_library(self, name: Value, scope: Scope, line: int) -> Value:
        """``ctypes.util.find_library``."""

    def import_module(self, name: str, scope: Scope) -> Value:
        """Import, and give the module itself. Raises Raised."""

    def attribute(self, module: Module, name: str) -> Value:
        """An attribute of a module, which may be a submodule that is imported already."""


def evaluate(node: ast.expr | None, scope: Scope, machine: Machine) -> Value:
    """The value of ``node``. Raises Raised where evaluating it fails for sure."""
    machine.step()
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        return handler(node, scope, machine)
    if node is not None and not isinstance(node, _NOT_RUN):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                evaluate(child, scope, machine)
    return UNKNOWN


def _name(node: ast.Name, scope: Scope, machine: Machine) -> Value:
    return resolved(scope.get(node.id), machine)


def resolved(value: Value, machine: Machine) -> Value:
    """A name of the standard library that is a constant, as that constant."""
    return machine.constants.get(value.name, value) if isinstance(value, Known) else value


def _attribute(node: ast.Attribute, scope: Scope, machine: Machine) -> Value:
    value = evaluate(node.value, scope, machine)
    if isinstance(value, Known):
        return resolved(Known(f"{value.name}.{node.attr}"), machine)
    if isinstance(value, Module):
        return machine.attribute(value, node.attr)
    if isinstance(value, Class):
        return value.names.get(node.attr, UNKNOWN)
    if isinstance(value, tuple) and value == machine.constants["sys.version_info"]:
        return machine.constants.get(f"sys.version_info.{node.attr}", UNKNOWN)
    return UNKNOWN


def _sequence(node: ast.List | ast.Tuple, scope: Scope, machine: Machine) -> Value:
    rows: list[Value] = []
    for row in node.elts:
        if isinstance(row, ast.Starred):
            value = evaluate(row.value, scope, machine)
            rows += list(value) if isinstance(value, list | tuple) else [UNKNOWN]
        else:
            rows.append(evaluate(row, scope, machine))
    return tuple(rows) if isinstance(node, ast.Tuple) else rows


def _joined(node: ast.JoinedStr, scope: Scope, machine: Machine) -> Value:
    parts = []
    for row in node.values:
        value = evaluate(row.value if isinstance(row, ast.FormattedValue) else row, scope, machine)
        if not isinstance(value, str | int) or (isinstance(row, ast.FormattedValue) and row.format_spec):
            return UNKNOWN
        parts.append(str(value))
    return "".join(parts)


def _unary(node: ast.UnaryOp, scope: Scope, machine: Machine) -> Value:
    value = evaluate(node.operand, scope, machine)
    if isinstance(node.op, ast.Not):
        truth = known.truth(value)
        return UNKNOWN if truth is None else not truth
    return -value if isinstance(node.op, ast.USub) and isinstance(value, int) else UNKNOWN


def _boolean(node: ast.BoolOp, scope: Scope, machine: Machine) -> Value:
    ends = isinstance(node.op, ast.Or)
    unsure = False
    value: Value = UNKNOWN
    for row in node.values:
        try:
            value = evaluate(row, scope, machine)
        except Raised:
            if unsure:
                return UNKNOWN  # it may not come to that
            raise
        truth = known.truth(value)
        if truth is ends:
            # True or false whatever the unknown ones before it are, if not this very value.
            return ends if unsure else value
        unsure = unsure or truth is None
    return UNKNOWN if unsure else value


def _compare(node: ast.Compare, scope: Scope, machine: Machine) -> Value:
    left = evaluate(node.left, scope, machine)
    result: Value = True
    for op, row in zip(node.ops, node.comparators, strict=True):
        right = evaluate(row, scope, machine)
        if isinstance(op, ast.Is | ast.IsNot) and right is None and not known.is_plain(left):
            # A module or function is not None; of an unknown value that is not known.
            one = UNKNOWN if left is UNKNOWN or isinstance(left, Known) else isinstance(op, ast.IsNot)
        elif known.is_plain(left) and known.is_plain(right):
            try:
                one = _COMPARE[type(op)](left, right)
            except known.FAILURES:
                one = UNKNOWN
        else:
            one = UNKNOWN
        if one is False:
            return False
        result = UNKNOWN if one is UNKNOWN else result
        left = right
    return result


def _binary(node: ast.BinOp, scope: Scope, machine: Machine) -> Value:
    left, right = evaluate(node.left, scope, machine), evaluate(node.right, scope, machine)
    function = _BINARY.get(type(node.op))
    both = isinstance(left, list) and isinstance(right, list)
    if function is None or not (both or (known.is_plain(left) and known.is_plain(right))):
        return UNKNOWN
    if not (known.is_small(left) and known.is_small(right)):
        return UNKNOWN
    try:
        return function(left, right)
    except known.FAILURES:
        return UNKNOWN


def _if(node: ast.IfExp, scope: Scope, machine: Machine) -> Value:
    truth = known.truth(evaluate(node.test, scope, machine))
    if truth is None:
        return UNKNOWN
    return evaluate(node.body if truth else node.orelse, scope, machine)


def _subscript(node: ast.Subscript, scope: Scope, machine: Machine) -> Value:
    value, index = evaluate(node.value, scope, machine), None
    if isinstance(node.slice, ast.Slice):
        bounds = [evaluate(row, scope, machine) if row else None for row in (node.slice.lower, node.slice.upper)]
        if node.slice.step is None and all(row is None or isinstance(row, int) for row in bounds):
            index = slice(*bounds)
    else:
        index = evaluate(node.slice, scope, machine)
    if isinstance(value, list | tuple | str) and isinstance(index, int | slice) and UNKNOWN not in list(value):
        try:
            return value[index]
        except IndexError:
            return UNKNOWN
    return UNKNOWN


def _named(node: ast.NamedExpr, scope: Scope, machine: Machine) -> Value:
    value = evaluate(node.value, scope, machine)
    scope.set(node.target.id, value)
    return value


def _comprehension(node: ast.ListComp | ast.GeneratorExp, scope: Scope, machine: Machine) -> Value:
    """A list over one sequence that is known; a generator is taken for its list."""
    first, *more = node.generators
    rows = evaluate(first.iter, scope, machine)
    plain = not more and isinstance(first.target, ast.Name) and isinstance(rows, list | tuple)
    if not plain or len(rows) > _MOST_ROUNDS:
        return UNKNOWN
    inner = Scope(scope.module, {}, scope)
    found: list[Value] = []
    for row in list(rows):
        _name_of(first.target, row, inner)
        tests = [known.truth(evaluate(test, inner, machine)) for test in first.ifs]
        if False not in tests:
            value = evaluate(node.elt, inner, machine)
            found.append(UNKNOWN if None in tests else value)
    return found


def _name_of(target: ast.expr, value: Value, scope: Scope) -> None:
    if isinstance(target, ast.Name):
        scope.names[target.id] = value


def _call(node: ast.Call, scope: Scope, machine: Machine) -> Value:
    function = evaluate(node.func, scope, machine)
    arguments: list[Value] = []
    for row in node.args:
        value = evaluate(row.value if isinstance(row, ast.Starred) else row, scope, machine)
        if isinstance(row, ast.Starred):
            arguments += list(value) if isinstance(value, list | tuple) else [UNKNOWN]
        else:
            arguments.append(value)
    keywords = {row.arg or "": evaluate(row.value, scope, machine) for row in node.keywords}
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if isinstance(function, Function):
        return machine.call(function, arguments, keywords)
    if isinstance(function, Class):
        return machine.construct(function, arguments, keywords)
    if isinstance(function, Known):
        return _known(node, function.name, arguments, keywords, scope, machine)
    if name in _OPENS and arguments:
        return machine.open(arguments[0], scope, node.lineno, cffi=name == "dlopen")
    if isinstance(node.func, ast.Attribute):
        value = evaluate(node.func.value, scope, machine)
        try:
            return known.method(value, name, arguments, keywords)
        except known.FAILURES:
            pass
    return _anything([*arguments, *keywords.values()])


def _anything(arguments: list[Value]) -> Value:
    """What is not followed may give anything, and put anything into a list that it gets."""
    for row in arguments:
        if isinstance(row, list):
            row.append(UNKNOWN)
    return UNKNOWN


def _known(
    node: ast.Call, name: str, arguments: list[Value], keywords: dict[str, Value], scope: Scope, machine: Machine
) -> Value:
    module, _, last = name.rpartition(".")
    first = arguments[0] if arguments else keywords.get("name", UNKNOWN)
    if last == "find_library":
        return machine.find_library(first, scope, node.lineno)
    if module.startswith("ctypes") and last in _OPENS:
        return machine.open(first, scope, node.lineno, cffi=False)
    if name in ("importlib.import_module", "builtins.__import__") and isinstance(first, str):
        relative = len(first) - len(first.lstrip("."))
        package = scope.module.names.get("__package__")
        if relative and isinstance(package, str):
            parents = package.split(".")
            first = ".".join([*parents[: len(parents) - relative + 1], first[relative:]])
        return machine.import_module(first, scope)
    if name == "builtins.getattr" and len(arguments) > 1 and isinstance(arguments[1], str):
        value = arguments[0]
        found = machine.attribute(value, arguments[1]) if isinstance(value, Module) else UNKNOWN
        return resolved(Known(f"{value.name}.{arguments[1]}"), machine) if isinstance(value, Known) else found
    function = machine.functions.get(name)
    if function is None:
        return _anything([*arguments, *keywords.values()])
    try:
        return function(*arguments, **keywords)
    except known.FAILURES:
        return UNKNOWN


_HANDLERS: Final[dict[type[ast.expr] | type[None], Callable[..., Value]]] = {
    ast.Constant: lambda node, scope, machine: node.value,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.JoinedStr: _joined,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.BinOp: _binary,
    ast.IfExp: _if,
    ast.Subscript: _subscript,
    ast.NamedExpr: _named,
    ast.Call: _call,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
}
