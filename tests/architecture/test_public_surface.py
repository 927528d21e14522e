"""What a module offers is written in its __all__, and everything written there exists."""

import ast
import importlib

import pytest

from support.checkout import Module, packages

EVERY_MODULE = [module for package in packages() for module in package.modules()]


def public_names(module: Module) -> set[str]:
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {node.name for node in module.tree.body if isinstance(node, named)}
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("module", EVERY_MODULE, ids=lambda it: it.name)
def test_all_names_exist_and_all_public_names_are_in_it(module: Module) -> None:
    loaded = importlib.import_module(module.name)
    names = getattr(loaded, "__all__", [])
    assert [name for name in names if not hasattr(loaded, name)] == []
    assert public_names(module) - set(names) == set()
