"""The house's shape: imports go down, the numerical core knows neither Hydra nor MLflow, nothing grows too long."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "src" / "stylelab"
MODULES = sorted(PACKAGE.rglob("*.py"))

# An import goes to a lower rank, within a function too. A package of ours counts as one module.
RANKS = {
    0: "layers losses schema provenance pictures devices parameter_files errors interrupts addresses aside scaling",
    1: "vgg embedded images spec replay autograd shelves bundles configuration run_folder store",
    2: "engine parameters pyramid composition work search_space spool patience",
    3: "objective networks reference sharing job study_settings mirror",
    4: "descent cost sweep reproduction study_record sweep_mirror",
    5: "transfer together study uploader",
    6: "recorders measurements console membership",
    7: "failures calibration tracking sweep_tracking trial",
    8: "runner rounds",
    9: "batch",
    10: "report commands __main__ __init__",
}
RANK = {name: rank for rank, names in RANKS.items() for name in names.split()}
UPWARD = {  # (from, to) -> why an import may go up
    ("sweep", "sweep_tracking"): "a sweep's parent run; within a function, because MLflow takes seconds to import",
}
CORE = ["layers", "losses", "schema", "spec", "pictures", "images", "pyramid", "vgg", "embedded", "parameters"]
CORE += ["networks", "autograd", "scaling", "objective", "shelves", "sharing", "together", "descent", "transfer"]
CORE += ["engine", "replay"]
WITHOUT_TORCH = ["layers", "schema", "spec", "pictures", "pyramid", "parameter_files", "provenance", "job"]
WITHOUT_TORCH += ["configuration", "console"]
LONGEST_FUNCTION, LONGEST_MODULE = 60, 400  # lines


def name_of(path: Path) -> str:
    """`report` for report/page.py, `vgg` for vgg.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file names in an import, however deep in it, and the line."""
    package = ["stylelab", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            if origin == "stylelab":
                yield from ((f"stylelab.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield origin, node.lineno


def ours(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of stylelab that a file imports."""
    for module, line in imports_of(path):
        if module.startswith("stylelab."):
            yield module.split(".")[1], line


def test_every_module_has_a_rank():
    missing = {name_of(path) for path in MODULES} - set(RANK)
    assert not missing, f"give {', '.join(sorted(missing))} a rank in test_architecture.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_an_import_goes_to_a_lower_rank(path):
    here = name_of(path)
    for there, line in ours(path):
        if there != here and (here, there) not in UPWARD:
            assert RANK[there] < RANK[here], f"{path.name}:{line}: {here} may not import {there}"


@pytest.mark.parametrize("name", CORE)
def test_the_numerical_core_names_neither_hydra_nor_mlflow_in_an_import(name):
    files = [path for path in MODULES if name_of(path) == name]
    named = {module.split(".")[0] for path in files for module, _ in imports_of(path)}
    assert files
    assert not named & {"hydra", "omegaconf", "mlflow"}


def import_without(blocked: list[str], modules: list[str]) -> subprocess.CompletedProcess:
    program = f"""
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it raises ImportError
for name in {modules!r}:
    __import__("stylelab." + name)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_the_numerical_core_is_imported_where_hydra_omegaconf_and_mlflow_are_not_installed():
    found = import_without(["hydra", "omegaconf", "mlflow"], CORE)
    assert found.returncode == 0, found.stderr


def test_what_checks_a_configuration_is_imported_without_torch_torchvision_and_mlflow():
    found = import_without(["torch", "torchvision", "mlflow", "safetensors"], WITHOUT_TORCH)
    assert found.returncode == 0, found.stderr


def test_blocking_an_import_does_block_it():
    found = import_without(["torch"], ["vgg"])
    assert found.returncode != 0 and "torch" in found.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_function_and_no_module_is_too_long(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{path.name}:{node.lineno}: {node.name}"


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.py")), ids=lambda path: path.name)
def test_no_test_asserts_what_can_not_fail(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assert):
            assert not isinstance(node.test, ast.Constant | ast.Tuple), f"{path.name}:{node.lineno}"
