"""Modules and functions stay small enough to be read in one go."""

import ast
from collections.abc import Iterator

import pytest

from support.checkout import Module, modules

LINES_MAX = 400
FUNCTION_STATEMENTS_MAX = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[Function]:
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def statements(function: Function) -> int:
    below = (node for node in ast.walk(function) if node is not function)
    return sum(isinstance(node, ast.stmt) and not is_docstring(node) for node in below)


def too_long(folder: str) -> list[str]:
    counted = ((module.shown, module.text.count("\n")) for module in modules(folder))
    return [f"{shown}: {lines} lines" for shown, lines in counted if lines > LINES_MAX]


@pytest.mark.parametrize("folder", ["packages", "tests", "tools"])
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    assert too_long(folder) == []


def test_no_function_has_more_than_40_statements() -> None:
    found = [
        f"{module.shown}:{function.lineno} {function.name}: {statements(function)} statements"
        for folder in ("packages", "tests", "tools")
        for module in modules(folder)
        for function in functions(module)
        if statements(function) > FUNCTION_STATEMENTS_MAX
    ]
    assert found == []


def test_every_module_says_in_at_most_five_lines_what_it_is() -> None:
    found: list[str] = []
    for module in modules("packages"):
        lines = (ast.get_docstring(module.tree) or "").splitlines()
        # The error tree is drawn in its docstring: the picture is the module's point.
        allowed = 9 if module.shown.endswith("orchestrator_core/errors.py") else 5
        if not 0 < len(lines) <= allowed:
            found.append(f"{module.shown}: {len(lines)} lines of docstring")
    assert found == []
