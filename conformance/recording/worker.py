"""Inside the environment that is recorded: needs numpy, the framework, and nothing of the judge.

Requests come as JSON lines on stdin, answers go as JSON lines to what was stdout when the process
began; whatever a library prints goes nowhere.  Tensors are written to the file that a request
names.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RequestError, one_line
from ..implementation import (
    LIBRARIES,
    Implementation,
    Unsupported,
    lacks,
    resolve,
    shares_clock,
    world,
)
from ..play import act, turns
from ..scenario import AddGroup, Scenario, SetHyper, from_json
from ..spec import Spec
from ..spec_file import bundled, load
from .inspected import own_defaults, refusals, signature, states, there
from .tape import Floats, packed

ANY = str(Path(__file__).parent / "any.toml")

Message = dict[str, Any]


def serve() -> None:
    """Answer requests until stdin ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line))
        except RequestError as e:
            answer = {"refused": str(e)}
        except Exception as e:
            answer = {"refused": f"the recording failed: {one_line(e)}"}
        out.write(json.dumps(answer, allow_nan=False) + "\n")
        out.flush()


def _answer(request: Message) -> Message:
    found = subjects(request["target"], request.get("spec"))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    if request["do"] == "list":
        listed = [{**_listed(i, s), "which": k} for k, (i, s) in enumerate(found) if there(i)]
        return {"environment": environment(), "implementations": listed}
    implementation, spec_name = found[request["which"]]
    spec = load(spec_name)
    scenarios = [from_json(s) for s in request["scenarios"]]
    runs, tensors = [], {}
    for k, scenario in enumerate(scenarios):
        run, arrays = played(implementation, scenario, spec)
        runs.append(run)
        tensors.update({f"{k}/{name}": x for name, x in arrays.items()})
    Path(request["out"]).write_bytes(packed(tensors))
    about: Message = {}
    if request["describe"]:
        about = {
            "signature": signature(implementation),
            "states": states(implementation, spec, scenarios[0]),
            "refusals": refusals(implementation, spec, scenarios[0].dtype),
            "steady": _same(*(played(implementation, scenarios[0], spec)[1] for _ in range(2))),
        }
    return {"runs": runs, "about": about}


def environment() -> dict[str, str]:
    """Every distribution of the process's own folder of packages, and what runs it."""
    own = {"python": platform.python_version()}
    here = {Path(sys.prefix).resolve()}
    for d in importlib.metadata.distributions():
        name = d.metadata["Name"]
        if name and (
            name in WITNESSES or here & set(Path(str(d.locate_file(""))).resolve().parents)
        ):
            own.setdefault(name, d.version)
    return {n: v for n, v in own.items() if n not in ("pip", "setuptools", "wheel", "optconform")}


WITNESSES = ("numpy", "torch", "jax", "jaxlib", "tensorflow", "keras", "mlx", "paddlepaddle")
"""What numerics depend on, wherever it is installed."""


# ---- who there is ----------------------------------------------------------------------------


def subjects(target: str, spec: str | None) -> list[tuple[Implementation, str]]:
    """The implementations of a target and the spec of each; of a distribution, what its adapter
    offers, and every other class that derives from torch's optimizer."""
    if ":" in target:
        return [(i, spec or _spec_of(i)) for i in resolve(target, spec or _named(target))]
    if target in LIBRARIES:
        return _of_library(target, spec)
    modules = _modules(target)
    for module in modules:
        if module in LIBRARIES:
            return _of_library(module, spec)
    for point in importlib.metadata.entry_points(group="optconform.implementations"):
        if point.name == target:
            return [(i, spec or i.spec) for i in resolve(target, spec)]
    return [found for module in modules for found in discovered(module)]


def _of_library(name: str, spec: str | None) -> list[tuple[Implementation, str]]:
    offered = [(i, spec or i.spec) for i in resolve(name, spec)]
    if spec is not None or not LIBRARIES[name].like_torch:
        return offered
    names = {i.name for i, _ in offered}
    return [*offered, *((i, s) for i, s in discovered(name) if i.name not in names)]


def _named(target: str) -> str | None:
    """No spec where the class's own name tells one, or an adapter; else that of nobody."""
    where, _, name = target.rpartition(":")
    adapted = any(where == known.where for known in LIBRARIES.values())
    torch_own = where.split(".")[0] == "torch"
    return None if adapted or torch_own or name.lower() in bundled() else ANY


def _spec_of(i: Implementation) -> str:
    return ANY if i.spec == load(ANY).name else i.spec


def _modules(distribution: str) -> list[str]:
    """The modules that a distribution installs."""
    plain = re.sub(r"[-_.]+", "-", distribution).lower()
    found = [
        module
        for module, names in importlib.metadata.packages_distributions().items()
        if any(re.sub(r"[-_.]+", "-", n).lower() == plain for n in names)
    ]
    kept = sorted(m for m in set(found) if re.fullmatch(r"[A-Za-z]\w*", m))
    if not kept:
        raise RequestError(f"there is no distribution {distribution!r} in this environment")
    return [m for m in kept if m not in ("tests", "test", "docs", "examples")]


def discovered(module: str) -> list[tuple[Implementation, str]]:
    """The public optimizers of a module, under the spec whose name they have, or none."""
    import torch

    from ..impls.adapters.torch_optim import TorchLike

    try:
        loaded = importlib.import_module(module)
    except BaseException as e:
        raise RequestError(f"{module} fails on import: {one_line(e)}") from None
    known = set(bundled())
    found: list[tuple[Implementation, str]] = []
    for name in sorted(vars(loaded)):
        subject = getattr(loaded, name)
        if name.startswith("_") or not isinstance(subject, type):
            continue
        inside = str(subject.__module__).split(".")[0] == module
        if inside and issubclass(subject, torch.optim.Optimizer) and name == subject.__name__:
            spec = name.lower() if name.lower() in known else ANY
            made = TorchLike(subject, f"{module}:{name}", module, load(spec).name)
            found.append((made, spec))
    return found


def _listed(i: Implementation, spec_name: str) -> Message:
    spec = load(spec_name)
    return {
        "implementation": i.name,
        "library": i.library,
        "version": i.version,
        "spec": spec_name,
        "variant": dict(i.variant),
        "fixed": i.fixed(spec),
        "changeable": list(i.changeable(spec)),
        "lacks": sorted(lacks(i)),
        "clock": "optimizer" if shares_clock(i) else "parameter",
        "world": world(i),
        "slow": i.slow,
        "own": own_defaults(i, spec) if spec_name == ANY else {},
    }


# ---- one run ---------------------------------------------------------------------------------


class _Tape:
    """Snapshots of a session, appended."""

    def __init__(self, session: Any, shapes: list[list[int]]) -> None:
        self.session, self.shapes = session, shapes
        self.params: list[Floats] = []
        self.states: dict[str, list[Floats]] = {}
        self.names: list[list[list[str]]] = []  # by snapshot, then parameter

    def take(self) -> None:
        params, states = self.session.parameters(), self.session.state()
        if [[np.size(x) for x in some] for some in params] != self.shapes:
            raise RequestError("a parameter has changed its size")
        names: list[list[str]] = []
        for some, held in zip(params, states, strict=True):
            for x, tensors in zip(some, held, strict=True):
                self.params.append(_copy(x))
                kept = {n: _copy(y) for n, y in tensors.items() if np.size(y) == np.size(x)}
                for n, y in kept.items():
                    self.states.setdefault(n, []).append(y)
                names.append(sorted(kept))
        self.names.append(names)

    def arrays(self) -> dict[str, Floats]:
        found = {"param": np.concatenate([*self.params, np.zeros(0)])}
        return found | {f"state {n}": np.concatenate(x) for n, x in self.states.items()}


def played(
    implementation: Implementation, scenario: Scenario, spec: Spec
) -> tuple[Message, dict[str, Floats]]:
    """A run and its tensors, up to where the subject raised, if it did."""
    shapes = [[p.size for p in g.params] for g in scenario.groups]
    status, tape = "done", None
    _seed()
    try:
        session = implementation.start(scenario, spec)
        tape = _Tape(session, shapes)
        tape.take()
        for event, grads in turns(scenario):
            act(session, event, grads)
            if isinstance(event, AddGroup):
                shapes.append([p.size for p in event.group.params])
            if not isinstance(event, SetHyper):  # of which nothing can be seen yet
                tape.take()
    except Unsupported as e:
        status = f"unsupported: {one_line(e)}"
    except RequestError as e:
        status = f"raised {e}"
    except (Exception, SystemExit) as e:
        status = f"raised {one_line(e)}"
    run = {"status": status[:300], "names": tape.names if tape else []}
    return run, tape.arrays() if tape else {}


def _copy(x: Floats) -> Floats:
    """A session may hand out the arrays that it works on."""
    return np.array(x, np.float64).reshape(-1)


def _seed() -> None:
    """What is drawn at random is drawn alike in every run."""
    random.seed(0)
    np.random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


def _same(a: dict[str, Floats], b: dict[str, Floats]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n], equal_nan=True) for n in a)


if __name__ == "__main__":
    serve()
