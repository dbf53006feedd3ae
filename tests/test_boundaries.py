"""The floors of docs/architecture.md, held by reading the source."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("align", "cluster", "sweeps", "serve")
SOURCES = sorted(
    path
    for name in (*PACKAGES, "benchmarks", "alignery.py", "demo.py", "gpu_check.py")
    for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
)
TOP = {"demo", "gpu_check", "alignery", "benchmarks"}
HEAVY = {"torch", "ray", "transformers", "trl", "peft", "datasets", "accelerate"}
FORBIDDEN = {
    "align": {"cluster", "sweeps", "serve", "ray", "sqlalchemy", "alembic", "optuna"} | TOP,
    "cluster": {"sweeps", "serve", "torch"} | TOP,
    "sweeps": {"serve"} | TOP,
    "serve": {"sweeps"} | TOP,
}
#: Layers within each package, the lowest first. A module imports from lower layers alone, or from
#: its own unit (a subpackage, or a module directly in the package).
LAYERS = {
    "align": (
        "control_tokens errors",
        "artifact_cache atomic_write chat_tools compat console_tables cpu_features gpu_cards "
        "json_output lru_cache progress_lines suggestions",
        "control_text gpu_errors gpu_memory gpu_process paths space",
        "digests fp32_modules gpu_preflight out_of_memory precision reasoning_tasks sources",
        "chat_encoder fp16",
        "adapters base",
        "base_tokenizer inference",
        "methods",
        "rewards",
        "recipe",
        "data memory",
        "scaffold",
        "evaluation preflight",
        "commands training",
        "gpu_check importing",
    ),
    "cluster": (
        "compat errors pool signals threads",
        "head local_calls names promotion settings token tree",
        "authentication database secrets storage",
        "aliases dashboard gpu_checks ray",
        "check jobs registry simulated",
        "adapter_import compare",
        "display",
        "commands",
    ),
    "sweeps": (
        "errors heartbeat search_options trials winner_probability",
        "dependencies finalists study_lock sweep_store worth",
        "answer events pool recipe_changes run_store study",
        "cleanup driver gpu_check planning results resume submission",
        "open_sweep progress",
        "pipeline",
        "sweep",
        "control",
        "report runner",
        "commands",
    ),
    "serve": (
        "errors failures metrics routing",
        "access addresses batching experiments free_resources replica_port",
        "catalogue client coordinator display sizes",
        "http",
        "app",
        "deployment",
        "server",
        "gpu_check",
        "commands",
    ),
}
MAX_LINES = 300
COMMANDS = [path for path in SOURCES if "commands" in (path.stem, path.parent.name)]


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Top-level names of the modules that these nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: no function bodies, no `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import_time(child)


@cache
def tree(path: Path) -> ast.Module:
    """The parsed source; each file is parsed once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources(package: str) -> list[Path]:
    return [path for path in SOURCES if path.relative_to(ROOT).parts[0] == package]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_floors_below(package: str) -> None:
    wrong = [
        f"{name(path)} imports {module}"
        for path in sources(package)
        for module in imported(ast.walk(tree(path)))
        if module in FORBIDDEN[package]
    ]
    assert not wrong


def unit(module: str) -> str:
    """`recipe` of align.recipe.stage, `base` of align.base."""
    return module.split(".")[1] if "." in module else ""


def inner_imports(path: Path, package: str) -> Iterator[str]:
    """Dotted modules of the same package that a module imports, also within functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == package:
                yield from (f"{package}.{alias.name}" for alias in node.names)
            elif node.module.startswith(f"{package}."):
                yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_imports_only_from_layers_below(package: str) -> None:
    layer = {name: at for at, names in enumerate(LAYERS[package]) for name in names.split()}
    wrong = []
    for path in sources(package):
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not (here := unit(dotted)):
            continue
        assert here in layer, f"{dotted} stands in no layer of LAYERS"
        wrong += [
            f"{name(path)} imports {module}"
            for module in inner_imports(path, package)
            if unit(module) != here and layer[unit(module)] >= layer[here]
        ]
    assert not wrong
    assert set(layer) == {
        unit(f"{package}.{p.relative_to(ROOT / package).parts[0]}".removesuffix(".py"))
        for p in sources(package)
    } - {"__init__"}


def test_only_the_command_line_mounts_the_demo() -> None:
    others = [path for path in SOURCES if path.parent != ROOT and "benchmarks" not in path.parts]
    assert not [path for path in others if TOP & set(imported(ast.walk(tree(path))))]


def test_serve_is_never_imported_bare() -> None:
    """`from ray import serve` wants the same name."""
    wrong = [
        name(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import) and any(alias.name == "serve" for alias in node.names)
    ]
    assert not wrong


@pytest.mark.parametrize("path", COMMANDS, ids=name)
def test_command_modules_import_nothing_heavy(path: Path) -> None:
    assert not HEAVY & set(imported(at_import_time(tree(path))))


@pytest.mark.parametrize(
    "path", [ROOT / "alignery.py", ROOT / "demo.py", ROOT / "gpu_check.py"], ids=name
)
def test_the_command_line_imports_nothing_heavy(path: Path) -> None:
    assert not HEAVY & set(imported(at_import_time(tree(path))))


def test_no_command_module_swallows_expected_errors() -> None:
    wrong = [
        name(path)
        for path in COMMANDS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and re.search(r"AligneryError|\bException\b", ast.unparse(node.type))
    ]
    assert not wrong


def test_a_file_reads_in_one_sitting() -> None:
    long = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {path: lines for path, lines in long.items() if lines > MAX_LINES}
