"""Each package declares exactly what it imports, under the names that nobody else can own."""

import ast
import importlib.metadata
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.checkout import ROOT, Package, modules, packages

PREFIX = "llorch-"

# Loaded by name and not by an import statement: uvicorn picks its loop and its parser itself, and
# the engine's wheel is loaded only once the machine is known to carry it.
LOADED_BY_NAME = {
    "llorch-worker": {"xllamacpp"},
    "llorch-orchestratord": {"httptools", "uvloop"},
    "llorch-pool-managerd": {"httptools", "uvloop"},
}

# The compiled half of a package that pins it by exact version.
PART_OF = {"pydantic-core": "pydantic"}

# Programs, plug-ins and stubs of the development group that no test imports.
TOOLS = {"basedpyright", "coverage", "import-linter", "pytest-asyncio", "ruff"}

every_package = pytest.mark.parametrize("package", packages(), ids=lambda it: it.distribution)


def declared(package: Package) -> list[Requirement]:
    project = package.pyproject["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in lines]


def development() -> set[str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    return {Requirement(line).name for line in groups["dev"]}


def distributions() -> dict[str, set[str]]:
    found = importlib.metadata.packages_distributions()
    return {
        module: {PART_OF.get(name, name) for name in map(canonicalize_name, names)}
        for module, names in found.items()
    }


def third_party(imported: set[str]) -> set[str]:
    # Folders of tests that stand on the path: of all tests, of the fuzzer, of the benchmarks, and
    # of the one of the gateway.
    ours = {package.import_name for package in packages()} | {"support", "fuzz", "bench", "gateway"}
    known = distributions()
    foreign = imported - ours - set(sys.stdlib_module_names)
    return {name for module in foreign for name in known.get(module, {f"nobody's {module}"})}


def imported_by(package: Package) -> set[str]:
    return {root for module in package.modules() for root in module.imported_roots()}


@every_package
def test_declares_what_it_imports_and_imports_what_it_declares(package: Package) -> None:
    wanted = {need.name for need in declared(package) if not need.name.startswith(PREFIX)}
    loaded = LOADED_BY_NAME.get(package.distribution, set())
    assert third_party(imported_by(package)) | loaded == wanted


@every_package
def test_imports_only_those_of_our_packages_that_it_declares(package: Package) -> None:
    names = {other.import_name: other.distribution for other in packages()}
    wanted = {need.name for need in declared(package)} | {package.distribution}
    used = {names[module] for module in imported_by(package) & names.keys()}
    assert used <= wanted


@every_package
def test_pins_our_own_packages_to_its_own_version(package: Package) -> None:
    version = package.pyproject["project"]["version"]
    inner = [need for need in declared(package) if need.name.startswith(PREFIX)]
    assert [str(need.specifier) for need in inner] == [f"=={version}"] * len(inner)


@every_package
def test_carries_the_prefix_the_licence_and_the_marker_of_typed_code(package: Package) -> None:
    project = package.pyproject["project"]
    assert project["name"].startswith(PREFIX)
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    assert (package.source / "py.typed").is_file()
    assert package.pyproject["build-system"]["build-backend"] == "hatchling.build"
    assert package.pyproject.keys() & {"dependency-groups"} == set()


@every_package
def test_leaves_the_configuration_of_tools_to_the_root(package: Package) -> None:
    assert package.pyproject["tool"].keys() == {"hatch"}


@every_package
def test_keeps_its_init_files_empty_but_for_a_docstring(package: Package) -> None:
    inits = [module for module in package.modules() if module.path.name == "__init__.py"]
    full = [module.shown for module in inits if len(module.tree.body) > 1]
    assert full == []
    assert [module.shown for module in inits if not ast.get_docstring(module.tree)] == []


def test_the_development_group_holds_what_tests_import_and_the_tools() -> None:
    # The training script needs far heavier packages and names them itself, in its own folder.
    training = ROOT / "tools" / "train_tiny"
    files = [*modules("tests"), *modules("tools")]
    files = [module for module in files if not module.path.is_relative_to(training)]
    used = third_party({root for module in files for root in module.imported_roots()})
    reached = {need.name for package in packages() for need in declared(package)}
    plain = {name for name in development() if not name.startswith("types-")}
    assert used - reached - plain == set()
    assert plain - used - TOOLS == set()
