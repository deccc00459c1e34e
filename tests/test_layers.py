"""The shape of the package: which module may import which, read from the files."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "conformance": "optconform",
    "specs": "optconform.specs",
    "impls": "optconform.impls",
    "reports": "optconform.reports",
}

# Lowest first.  A module imports from lower lines only: never from its own line.
LAYERS = (
    (
        "",
        "specs",
        "impls",
        "errors",
        "impls.reference.*",
        "recording",
        "memory",
        "caches",
        "printing",
        "surroundings",
        "counts",
        "interrupted",
        "naming",
    ),
    ("formats", "expr", "recording.tape", "recording.host"),
    ("spec",),
    ("spec_check", "render"),
    ("spec_file", "lattice"),
    ("comparison", "comparison.pair"),
    ("oracle", "oracle.scalars"),
    ("oracle.structure", "oracle.majorant"),
    ("oracle.factors",),
    ("oracle.bound",),
    ("oracle.exact", "oracle.free", "oracle.judge"),
    ("scenario",),
    ("edits", "brinks"),
    ("without",),
    ("declared", "named"),
    ("implementation", "strategies", "recording.traits"),
    ("draws", "play"),
    ("decay", "signature", "recording.corpus", "recording.played"),
    ("interpreter", "recording.make"),
    ("impls.cuda.constants",),
    ("impls.cuda.body",),
    ("impls.cuda.emit", "impls.cuda.nvrtc"),
    ("impls.cuda.evaluate", "impls.cuda.host", "impls.cuda.device"),
    ("impls.cuda.program",),
    ("impls.cuda.rows",),
    ("impls.cuda.launch",),
    ("impls.cuda.plan",),
    ("impls.cuda.optimizer",),
    ("impls.cuda.classes",),
    ("impls.cuda",),
    ("mutants", "agreement", "comparison.march"),
    ("equivalence",),
    ("comparison.coincide", "comparison.lively"),
    ("contracts", "contracts.contract"),
    (
        "impls.adapters",
        "impls.adapters.jax_compiled",
        "impls.adapters.torch_repro",
        "impls.adapters.torch_checks",
    ),
    ("probes",),
    ("impls.adapters.driven",),
    (
        "impls.adapters.jax_optim",
        "impls.adapters.keras_optim",
        "impls.adapters.mlx_optim",
        "impls.adapters.optax_optim",
        "impls.adapters.paddle_optim",
        "impls.adapters.tensorflow_optim",
        "impls.adapters.tinygrad_optim",
    ),
    (
        "impls.adapters.torch_checks_made",
        "impls.adapters.torch_checks_saved",
        "impls.adapters.torch_checks_step",
    ),
    ("impls.adapters.torch_contracts",),
    ("impls.adapters.torch_optim", "recording.inspected"),
    ("impls.adapters.torch_declared", "impls.adapters.torch_ranks", "impls.adapters.cuda_optim"),
    ("impls.adapters.torch_libraries", "impls.adapters.torch_distributed"),
    ("trace", "recording.worker"),
    ("lockstep", "runs"),
    ("initial", "admit", "formula"),
    ("identify", "explain", "minimise", "comparison.separate"),
    ("comparison.trajectories",),
    ("comparison.compare",),
    ("power",),
    ("detect",),
    ("coverage", "findings"),
    ("recording.apart",),
    ("recording.difference",),
    ("contracts.bench", "known"),
    ("contracts.edges", "contracts.effects"),
    ("contracts.relations",),
    ("contracts.phase",),
    ("examine",),
    ("investigate",),
    ("record",),
    ("tables", "recording.environments", "options"),
    ("reports.view",),
    (
        "reports.badge",
        "reports.baseline",
        "reports.coverage",
        "reports.equations",
        "reports.overview",
    ),
    ("reports.power", "reports.ratios"),
    ("reports.html", "reports.markdown", "reports.comparison"),
    ("reports.plots", "reports.comparison_text"),
    ("reports.comparison_html", "reports.difference"),
    ("reports",),
    ("serve",),
    ("worker",),
    ("cells", "journal", "cluster"),
    (
        "trials",
        "comparing",
        "identifying",
        "reporting",
        "listing",
        "reporting",
        "adopting",
        "testing",
        "recording.commands",
    ),
    ("cli", "pytest_plugin"),
)

ADAPTERS = (
    "cuda_optim",
    "jax_optim",
    "keras_optim",
    "mlx_optim",
    "optax_optim",
    "paddle_optim",
    "tensorflow_optim",
    "tinygrad_optim",
    "torch_distributed",
    "torch_libraries",
    "torch_optim",
)

UPWARD = {
    ("implementation", f"impls.adapters.{adapter}"): (
        "targets are resolved by name, and a library is loaded only when one is: import_module "
        "with the adapter's name, as an entry point would be"
    )
    for adapter in ADAPTERS
} | {
    ("implementation", "impls.cuda"): "what stands before the colon of a target: a name",
    ("impls.adapters.torch_repro", "impls.adapters.torch_optim"): (
        "an annotation: imported under TYPE_CHECKING, never when the program runs"
    ),
    ("impls.adapters.torch_contracts", "impls.adapters.torch_optim"): (
        "an annotation: imported under TYPE_CHECKING, never when the program runs"
    ),
    ("contracts.contract", "contracts.bench"): (
        "an annotation: imported under TYPE_CHECKING, never when the program runs"
    ),
}

PICKLES = ("impls.adapters.torch_checks_saved",)
"""Where optimizers are checked to survive pickling: what is loaded was dumped a line above."""

LONGEST = 420


def _modules() -> dict[str, Path]:
    """Module, without the leading ``optconform.``, to its file."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name.removeprefix("optconform").removeprefix(".")] = path
    return found


MODULES = _modules()
TREES = {m: ast.parse(p.read_text(encoding="utf-8")) for m, p in MODULES.items()}


def _imported(module: str) -> set[str]:
    """The modules of the package that ``module`` imports, anywhere in its text, also by name."""
    package = MODULES[module].name == "__init__.py"
    here = f"optconform.{module}".rstrip(".").split(".")
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + package] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            for alias in node.names:
                whole = ".".join((*base, alias.name))
                known = whole.removeprefix("optconform.") in MODULES
                found.add(whole if known else ".".join(base))
        elif isinstance(node, ast.Constant) and str(node.value).startswith("optconform.impls"):
            found.add(node.value)  # the argument of import_module
    inside = {n for n in found if n == "optconform" or n.startswith("optconform.")}
    return {n.removeprefix("optconform").removeprefix(".") for n in inside} - {module}


IMPORTS = {m: _imported(m) & set(MODULES) for m in MODULES}


def _height(module: str) -> int:
    for k, layer in enumerate(LAYERS):
        if module in layer or any(
            x.endswith(".*") and f"{module}.".startswith(x[:-1]) for x in layer
        ):
            return k
    raise AssertionError(f"{module} has no place in LAYERS")


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module: str) -> None:
    if module.startswith("impls.reference"):
        return  # one layer of its own, see below
    above = {
        other
        for other in IMPORTS[module]
        if _height(other) >= _height(module) and (module, other) not in UPWARD
    }
    assert not above, f"{module} imports {sorted(above)}, which lie above or beside it"


def test_the_reader_of_imports_sees_them() -> None:
    """Known edges: a wrong reader would make every rule here hold."""
    assert "oracle.bound" in IMPORTS["oracle.judge"]  # from .bound
    assert "expr" in IMPORTS["oracle.bound"]  # from ..expr
    assert "expr" in IMPORTS["lockstep"]  # from . import expr
    assert "examine" in IMPORTS["serve"]  # inside a function
    assert "reports" in IMPORTS["cli"]  # another folder, inside a function
    assert "impls.reference" in IMPORTS["impls.adapters.torch_optim"]  # absolute
    assert "" in IMPORTS["record"]  # from . import __version__


def test_every_exception_is_still_needed() -> None:
    assert {(a, b) for a, b in UPWARD if b not in IMPORTS[a]} == set()


def test_there_is_no_cycle() -> None:
    graph = {m: {o for o in others if (m, o) not in UPWARD} for m, others in IMPORTS.items()}
    order = list(TopologicalSorter(graph).static_order())  # CycleError otherwise
    assert order.index("expr") < order.index("spec") < order.index("cli")


def test_exact_and_bound_are_independent() -> None:
    """What confirms an accusation shares nothing with what makes it but the graph."""
    assert IMPORTS["oracle.exact"] == {"expr", "spec"}
    assert "oracle.exact" not in IMPORTS["oracle.judge"] | IMPORTS["oracle.bound"]


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("impls.reference")])
def test_the_reference_needs_torch_alone(module: str) -> None:
    outside = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            outside |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{module} reaches out of its folder"
            if node.level == 0:
                outside.add((node.module or "").split(".")[0])
    assert outside - set(sys.stdlib_module_names) <= {"torch"}


def test_the_reference_works_without_the_package(tmp_path: Path) -> None:
    (tmp_path / "alone").symlink_to(ROOT / "impls" / "reference")
    code = (
        "import sys, torch, alone\n"
        "p = torch.ones(2, requires_grad=True)\n"
        "p.grad = torch.ones(2)\n"
        "alone.SGD([p], lr=0.5).step()\n"
        "assert p.tolist() == [0.5, 0.5]\n"
        "assert not any(m.split('.')[0] == 'optconform' for m in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_folder_is_not_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", "import conformance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: import optconform, not conformance: ")
    assert "pip install" in last


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_run_as_code(module: str) -> None:
    forbidden = {"eval", "exec", "compile", "__import__"}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Name):
            assert node.id not in forbidden, f"line {node.lineno}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = {a.name.split(".")[0] for a in node.names}
            named.add((getattr(node, "module", None) or "").split(".")[0])
            loaders = {"pickle", "marshal", "shelve", "dill"}
            loaders -= {"pickle"} if module in PICKLES else set()
            assert not named & loaders, f"line {node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_short(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST
