"""The mutants of a module: each is its syntax tree with one small change.

A mutant is named by the function, the text of the line and the change, not by the number of the
line. So the name stays the same when code above it changes.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.mutation.changes import changed_expressions, changed_statement, drops

# What has no effect at run time, or is there for type checkers and readers only.
_NOT_MUTATED = {"__slots__", "__all__"}
_TYPES_ONLY = {"TypeVar", "TypeVarTuple", "ParamSpec", "NewType", "cast", "assert_never"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        module: Path of the file, from the root of the repository.
        function: Name with its classes, such as `Pauses.ask`; empty outside of functions.
        line: Number of the line, from 1.
        lines: Numbers of the lines of the statement; of its head, if it has a body. For a default,
            those of the function.
        source: Text of the line.
        change: What was there and what is there now.
        ordinal: Which of the same changes in the same line of text it is, from 0.
        edit: Makes the change in the tree that `find_mutants` was given.
    """

    module: str
    function: str
    line: int
    lines: range
    source: str
    change: str
    ordinal: int
    edit: Callable[[], None] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """What stays the same while other lines change."""
        again = f" #{self.ordinal + 1}" if self.ordinal else ""
        return f"{self.module}::{self.function} | {self.source} | {self.change}{again}"


def find_mutants(module: str, path: Path, tree: ast.Module) -> list[Mutant]:
    """All mutants of a module, in the order of its lines.

    Args:
        module: As in `Mutant`.
        path: The file.
        tree: Its syntax tree; `edit` of each mutant changes it.
    """
    source = path.read_text().splitlines()
    seen: Counter[tuple[str, str, str]] = Counter()
    mutants: list[Mutant] = []
    for place, change, edit in _Finder().of_body(tree, _Place("", range(0), False)):
        text = source[place.line - 1].strip()
        key = place.function, text, change
        mutants.append(
            Mutant(module, place.function, place.line, place.lines, text, change, seen[key], edit)
        )
        seen[key] += 1
    return mutants


@dataclass(frozen=True, slots=True)
class _Place:
    function: str
    lines: range
    in_raise: bool
    line: int = 0


_Found = tuple[_Place, str, Callable[[], None]]


class _Finder:
    """Goes through the statements of a module."""

    def of_body(self, owner: ast.AST, place: _Place) -> Iterator[_Found]:
        for name in ("body", "orelse", "finalbody"):
            body = getattr(owner, name, None)
            if isinstance(body, list):
                for index, statement in enumerate(body):
                    yield from self._of_statement(statement, body, index, place)
        for handler in getattr(owner, "handlers", []):
            yield from self._of_handler(handler, place)
        for case in getattr(owner, "cases", []):
            yield from self.of_body(case, place)

    def _of_handler(self, handler: ast.ExceptHandler, place: _Place) -> Iterator[_Found]:
        here = _Place(place.function, range(handler.lineno, handler.lineno + 1), False)
        if isinstance(handler.type, ast.Tuple):
            yield from _edits(drops(handler.type, "elts"), handler, "type", None, here)
        yield from self.of_body(handler, place)

    def _of_statement(
        self, statement: ast.stmt, body: list[ast.stmt], index: int, outer: _Place
    ) -> Iterator[_Found]:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from self._of_definition(statement, outer)
            return
        if _is_not_code(statement):
            return
        lines = range(statement.lineno, _end_of_head(statement) + 1)
        place = _Place(outer.function, lines, isinstance(statement, ast.Raise), statement.lineno)
        if outer.function:
            changed = changed_statement(statement, returns_last=index == len(body) - 1)
            yield from _edits(changed, body, None, index, place)
        yield from self._of_parts(statement, place)
        yield from self.of_body(statement, outer)

    def _of_definition(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, outer: _Place
    ) -> Iterator[_Found]:
        name = f"{outer.function}.{node.name}" if outer.function else node.name
        if isinstance(node, ast.ClassDef):
            # The statements of a class are run at import, like those of a module.
            inside = _Place("", range(0), False)
            for index, statement in enumerate(node.body):
                if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    named = _Place(name, range(0), False)
                    yield from self._of_definition(statement, named)
                else:
                    yield from self._of_statement(statement, node.body, index, inside)
            return
        if any("overload" in ast.unparse(each) for each in node.decorator_list):
            return
        # Only an import runs the head. Tests of a default are those that run the body.
        whole = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        place = _Place(name, whole, False, node.lineno)
        for defaults in (node.args.defaults, node.args.kw_defaults):
            for index, default in enumerate(defaults):
                if default is not None:
                    yield from _of_expression(default, defaults, None, index, place)
        yield from self.of_body(node, place)

    def _of_parts(self, statement: ast.stmt, place: _Place) -> Iterator[_Found]:
        """The expressions of a statement; not the statements in its body."""
        for name, value in ast.iter_fields(statement):
            if name in {"annotation", "body", "orelse", "finalbody", "handlers", "type_comment"}:
                continue
            if isinstance(value, ast.expr):
                yield from _of_expression(value, statement, name, None, place)
            elif isinstance(value, list):
                for index, each in enumerate(value):
                    if isinstance(each, ast.expr):
                        yield from _of_expression(each, value, None, index, place)
                    elif isinstance(each, ast.withitem):
                        yield from _of_expression(
                            each.context_expr, each, "context_expr", None, place
                        )


def _of_expression(
    node: ast.expr, owner: object, name: str | None, index: int | None, place: _Place
) -> Iterator[_Found]:
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Name) and called.id in _TYPES_ONLY:
        return
    if isinstance(node, ast.Lambda) and not place.function:
        place = _Place("<lambda>", place.lines, False, place.line)
    # A message is for people. No test should compare its words. So is the place that the log names
    # for a fault of ours.
    in_message = place.in_raise or (isinstance(called, ast.Attribute) and called.attr == "fault")
    is_message = in_message or isinstance(node, ast.JoinedStr)
    here = _Place(place.function, place.lines, in_message, node.lineno)
    if not (is_message and isinstance(node, ast.Constant)):
        yield from _edits(changed_expressions(node), owner, name, index, here)
    for field_name, value in ast.iter_fields(node):
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from _of_expression(part.value, part, "value", None, here)
            return
        if isinstance(value, ast.expr):
            yield from _of_expression(value, node, field_name, None, here)
        elif isinstance(value, list):
            for position, each in enumerate(value):
                if isinstance(each, ast.expr):
                    yield from _of_expression(each, value, None, position, here)
                elif isinstance(each, ast.keyword):
                    yield from _of_expression(each.value, each, "value", None, here)
                elif isinstance(each, ast.comprehension):
                    yield from _of_comprehension(each, here)


def _of_comprehension(node: ast.comprehension, place: _Place) -> Iterator[_Found]:
    yield from _of_expression(node.iter, node, "iter", None, place)
    for index, test in enumerate(node.ifs):
        yield from _edits([("True", ast.Constant(True))], node.ifs, None, index, place, test)
        yield from _of_expression(test, node.ifs, None, index, place)


def _edits(
    changes: Iterator[tuple[str, ast.AST]] | list[tuple[str, ast.AST]],
    owner: object,
    name: str | None,
    index: int | None,
    place: _Place,
    node: ast.AST | None = None,
) -> Iterator[_Found]:
    if node is None:
        node = getattr(owner, name) if name is not None else owner[index]  # type: ignore[index]
    for after, new in changes:

        def edit(new: ast.AST = new, node: ast.AST = node) -> None:
            ast.copy_location(new, node)
            ast.fix_missing_locations(new)
            if name is not None:
                setattr(owner, name, new)
            else:
                owner[index] = new  # type: ignore[index]

        line = place.line or place.lines.start
        found = _Place(place.function, place.lines, place.in_raise, line)
        yield found, f"{_head(node)} -> {after}", edit


def _head(node: ast.AST) -> str:
    """The source of a node, without the statements in it."""
    if isinstance(node, (ast.If, ast.While)):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
    return ast.unparse(node)


def _end_of_head(statement: ast.stmt) -> int:
    body: list[ast.stmt] = getattr(statement, "body", [])
    if body:
        return max(statement.lineno, body[0].lineno - 1)
    return statement.end_lineno or statement.lineno


def _is_not_code(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(value=ast.Subscript(value=ast.Name(id="Literal"))):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _NOT_MUTATED or name.startswith("__match_args__")
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name in _TYPES_ONLY
        case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"))):
            return True
        case ast.AnnAssign(value=None) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case _:
            return False
