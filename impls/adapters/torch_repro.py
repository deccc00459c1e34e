"""Repro scripts for torch-like optimizers: they run with the library alone."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from optconform.formats import FORMATS
from optconform.scenario import (
    AddGroup,
    Group,
    Param,
    Reload,
    Scenario,
    SetHyper,
    Step,
    as_source,
    gradient,
    initial,
)

if TYPE_CHECKING:
    from optconform.impls.adapters.torch_optim import TorchLike


SHOW = """
def show(name, p):
    values = {"param": p, "grad": p.grad, **optimizer.state.get(p, {})}
    for key, x in values.items():
        if torch.is_tensor(x):
            x = torch.view_as_real(x) if x.is_complex() else x
            print(f"  {name} {key}:", x.detach().to_dense().double().flatten().tolist())

""".splitlines()


def pairs(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(x.reshape(-1, 2))


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def sparse(dense: torch.Tensor) -> torch.Tensor:
    return dense.to_sparse()


def in_halves(dense: torch.Tensor) -> torch.Tensor:
    """The same as a sparse tensor that lists every index twice, each time with half the value."""
    once = dense.to_sparse()
    half = once.values() / 2
    twice = torch.cat([once.indices()] * 2, dim=1)
    values = torch.cat([half, once.values() - half])
    return torch.sparse_coo_tensor(twice, values, dense.shape, check_invariants=False)


def expanded(x: torch.Tensor) -> torch.Tensor:
    """The same, if all its elements are equal, with one element in memory."""
    return x.flatten()[:1].clone().expand(x.numel()).view(x.shape)


TENSORS = {"complex": pairs, "channels-last": channels_last}
"""How parameters and gradients of each guise are made of the usual ones."""

GRADIENTS = {**TENSORS, "sparse": sparse, "sparse-twice": in_halves, "expanded": expanded}
"""How gradients are."""


def script(impl: "TorchLike", scenario: Scenario) -> str:
    """A Python script that replays ``scenario`` and prints every tensor after every step."""
    fmt = FORMATS[scenario.dtype]
    out = prelude(impl, "make")
    out += ["", f"dtype = torch.{scenario.dtype}", "", *SHOW]
    if impl.guise in GRADIENTS:
        out += [*inspect.getsource(GRADIENTS[impl.guise]).splitlines(), ""]
    grad_needed = not impl.options.get("differentiable")
    every: list[Param] = []
    groups: list[str] = []

    def add(group: Group) -> str:
        names = []
        for p in group.params:
            name = f"p{len(every)}"
            every.append(p)
            values = as_source(initial(p, fmt).tolist())
            out.append(f"{name} = {_guised(impl, _tensor(values, p, p.layout))}")
            if grad_needed:
                out.append(f"{name}.requires_grad_()")
            names.append(name)
        name = f"group{len(groups)}"
        options = {k: repr(v) for k, v in impl.group(impl.keywords(group.hyper)).items()}
        if impl.guise == "lr-tensor":
            options["lr"] = f"torch.tensor({options['lr']})"
        keywords = "".join(f", {k}={v}" for k, v in options.items())
        if impl.guise == "mixed-dtypes":
            other = f"torch.ones(3, dtype=torch.{other_dtype(scenario.dtype)})"
            out.extend([f"{name}_other = {other}", f"{name}_other.grad = {other}"])
            names.append(f"{name}_other")
        out.append(f"{name} = dict(params=[{', '.join(names)}]{keywords})")
        groups.append(name)
        return name

    first = [add(g) for g in scenario.groups]
    kept = sorted(impl.keywords(scenario.groups[0].hyper))
    out.append(f"kept = {kept!r}")
    out.append("defaults = {k: v for k, v in group0.items() if k in kept}")
    options = "".join(f", {k}={v!r}" for k, v in impl.options.items())
    out.append(f"optimizer = make([{', '.join(first)}], **defaults{options})")
    if impl.compiled:
        out.append("step = torch.compile(lambda: optimizer.step())")
    step = 0
    hypers = [dict(g.hyper) for g in scenario.all_groups]
    for event in scenario.events:
        match event:
            case Step(skipped):
                out.append(f"# step {step + 1}")
                position = 0
                for g, group in enumerate(scenario.all_groups[: len(groups)]):
                    for k, p in enumerate(group.params):
                        name = f"p{position}"
                        position += 1
                        if (g, k) in skipped:
                            out.append(f"{name}.grad = None")
                            continue
                        layout = "strided" if p.layout == "grad-strided" else p.layout
                        values = as_source(gradient(p, step, fmt).tolist())
                        text = _guised(impl, _tensor(values, p, layout), gradient=True)
                        out.append(f"{name}.grad = {text}")
                out.append("step()" if impl.compiled else "optimizer.step()")
                out.append(f"print('step {step + 1}')")
                for k in range(position):
                    out.append(f"show('p{k}', p{k})")
                step += 1
            case SetHyper(group_index, hyper):
                changed = impl.changed(hypers[group_index], hyper)
                hypers[group_index].update(hyper)
                out.append(f"optimizer.param_groups[{group_index}].update({changed!r})")
            case AddGroup(group):
                out.append(f"optimizer.add_param_group({add(group)})")
            case Reload():
                out += [
                    "saved = optimizer.state_dict()",
                    "groups = [{k: v for k, v in g.items() if k in [*kept, 'params']}"
                    " for g in optimizer.param_groups]",
                    "defaults = {k: v for k, v in groups[0].items() if k in kept}",
                    f"optimizer = make(groups, **defaults, **{dict(impl.options)!r})",
                    "optimizer.load_state_dict(saved)",
                ]
                if impl.compiled:
                    out.append("step = torch.compile(lambda: optimizer.step())")
    return "\n".join(out) + "\n"


def prelude(impl: "TorchLike", name: str) -> list[str]:
    """The imports of a script, and the subject under ``name``."""
    out = ["import torch", *impl.preamble]
    if impl.library == "file":
        folder = str(Path(impl.module).parent)
        return [
            *out,
            "import importlib.util",
            "import sys",
            f"sys.path.insert(0, {folder!r})",
            f"_spec = importlib.util.spec_from_file_location('subject', {impl.module!r})",
            "_module = importlib.util.module_from_spec(_spec)",
            "sys.modules['subject'] = _module",
            "_spec.loader.exec_module(_module)",
            f"{name} = _module.{impl.subject.__qualname__}",
        ]
    return [
        *out,
        f"from {impl.module} import {impl.subject.__qualname__.split('.')[0]}",
        f"{name} = {impl.subject.__qualname__}",
    ]


def other_dtype(dtype: str) -> str:
    """The dtype of the companion in the guise mixed-dtypes."""
    return "float32" if dtype == "float64" else "float64"


def _guised(impl: "TorchLike", text: str, *, gradient: bool = False) -> str:
    made = (GRADIENTS if gradient else TENSORS).get(impl.guise)
    return text if made is None else f"{made.__name__}({text})"


def _tensor(values: str, p: Param, layout: str) -> str:
    text = f"torch.tensor({values}, dtype=torch.float64).to(dtype)"
    if p.shape != (p.size,):
        text += f".reshape({p.shape!r})"
    if layout == "transposed" and len(p.shape) >= 2:
        order = tuple(range(len(p.shape)))[::-1]
        return f"{text}.permute({order}).contiguous().permute({order})"
    if layout == "strided" and len(p.shape) >= 1:
        between = f"torch.full({p.shape!r}, 7.0, dtype=dtype)"  # as where it was found
        return f"torch.stack([{text}, {between}], dim=-1)[..., 0]"
    return text
