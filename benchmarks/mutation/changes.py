"""The kinds of change: what one expression or statement becomes in its mutants."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy

Change = tuple[str, ast.AST]

# The neighbour at the boundary first, then the opposite.
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor"}
# Methods without an argument that return the same kind of thing as they are called on.
_METHODS = {"lower", "upper", "casefold", "strip", "lstrip", "rstrip", "copy"}


def changed_expressions(node: ast.expr) -> Iterator[Change]:
    """What an expression becomes; the parts of it are not changed here."""
    for new in _new_expressions(node):
        yield ast.unparse(new), new


def _new_expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=value):
            yield from _constants(value)
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BoolOp():
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield ast.BoolOp(other(), deepcopy(node.values))
            for index in range(len(node.values)):
                rest = [*node.values[:index], *node.values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, deepcopy(rest))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield deepcopy(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield ast.BinOp(deepcopy(left), _ARITHMETIC[type(op)](), deepcopy(right))
        case ast.IfExp(body=body, orelse=orelse):
            yield deepcopy(body)
            yield deepcopy(orelse)
        case ast.Call():
            yield from _calls(node)
        case ast.Lambda(args=args):
            yield ast.Lambda(args, ast.Constant(None))


def _constants(value: object) -> Iterator[ast.expr]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int():
            yield ast.Constant(value + 1)
        case float():
            yield ast.Constant(2.0 * value or 1.0)
        case str():
            yield ast.Constant(f"{value}X")
        case bytes():
            yield ast.Constant(value + b"X")


def _comparisons(node: ast.Compare) -> Iterator[ast.expr]:
    for index, op in enumerate(node.ops):
        for other in _COMPARISONS[type(op)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield ast.Compare(deepcopy(node.left), ops, deepcopy(node.comparators))


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    called, arguments = node.func, node.args
    if isinstance(called, ast.Name) and called.id in _FUNCTIONS:
        other = ast.Name(_FUNCTIONS[called.id], ast.Load())
        # `floor` may not be imported where `ceil` is, but `int` is always there.
        if called.id == "ceil":
            other = ast.Name("int", ast.Load())
        yield ast.Call(other, deepcopy(arguments), deepcopy(node.keywords))
    is_symmetric = isinstance(called, ast.Name) and called.id in {"min", "max", "suppress"}
    if len(arguments) > 1 and not is_symmetric:
        first, second, *rest = arguments
        starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
        if not starred and ast.unparse(first) != ast.unparse(second):
            yield ast.Call(called, deepcopy([second, first, *rest]), deepcopy(node.keywords))
    for index in range(len(node.keywords)):
        rest_of_keywords = [*node.keywords[:index], *node.keywords[index + 1 :]]
        yield ast.Call(called, deepcopy(arguments), deepcopy(rest_of_keywords))
    if (
        isinstance(called, ast.Attribute)
        and called.attr in _METHODS
        and not arguments
        and not node.keywords
    ):
        yield deepcopy(called.value)


def changed_statement(node: ast.stmt, *, returns_last: bool) -> Iterator[Change]:
    """What a statement of a function becomes; `returns_last` if it is the last one of its block."""
    match node:
        case ast.If(body=body, orelse=orelse):
            yield "if True", ast.If(ast.Constant(True), body, orelse)
            # With one statement and no other branch, to remove that statement is the same.
            if orelse or len(body) > 1 or not _can_be_removed(body[0]):
                yield "if False", ast.If(ast.Constant(False), body, orelse)
        case ast.While(body=body, orelse=orelse):
            yield "while False", ast.While(ast.Constant(False), body, orelse)
        case ast.For(body=body) if len(body) > 1 or not _can_be_removed(body[0]):
            yield "no item", ast.For(node.target, ast.Tuple([], ast.Load()), body, node.orelse)
        case ast.Return(value=value) if value is not None:
            constant = value.value if isinstance(value, ast.Constant) else ...
            # A boolean is changed to the other one, and where False is right, None is as well.
            if constant is not None and not isinstance(constant, bool):
                yield "return None", ast.Return(ast.Constant(None))
            elif not returns_last:
                yield "removed", ast.Pass()
        case ast.AugAssign(target=target, op=op, value=value):
            if type(op) in _ARITHMETIC:
                new = ast.AugAssign(target, _ARITHMETIC[type(op)](), value)
                yield ast.unparse(new), new
            yield "removed", ast.Pass()
        case ast.Return() if returns_last:
            return
        case _ if _can_be_removed(node):
            yield "removed", ast.Pass()


def _can_be_removed(node: ast.stmt) -> bool:
    """Whether the function is still valid code without this statement."""
    match node:
        case ast.Expr(value=ast.Await() | ast.Call() | ast.YieldFrom()):
            return True
        case ast.Assign(targets=targets):
            return any(isinstance(each, (ast.Attribute, ast.Subscript)) for each in targets)
        case ast.AnnAssign(target=target, value=value):
            return value is not None and isinstance(target, (ast.Attribute, ast.Subscript))
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            return True
        case ast.AugAssign():
            return True
        case _:
            return False


def drops(node: ast.Tuple, name: str) -> Iterator[Change]:
    """Without one of its elements."""
    elements = getattr(node, name)
    for index in range(len(elements)):
        rest = [*elements[:index], *elements[index + 1 :]]
        new = ast.Tuple(deepcopy(rest), ast.Load())
        yield ast.unparse(new), new
