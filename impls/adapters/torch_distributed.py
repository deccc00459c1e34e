"""What people wrap around torch's optimizers in distributed training, on two processes under gloo.

``torch.distributed.optim:ZeroRedundancyOptimizer[AdamW]`` divides the parameters among the ranks,
lets each rank's optimizer move its own, and broadcasts them.
``torch.distributed.fsdp:fully_shard[AdamW,foreach]`` (FSDP2) makes every parameter a DTensor, half
of which each rank holds and moves, with states that are DTensors as well.  Both ranks are given the
same gradients, as DDP and FSDP leave them after the reduction, so that what is computed is what the
wrapped optimizer computes alone.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import distribute_tensor

from optconform.implementation import Implementation, Session, Unsupported
from optconform.impls.adapters.driven import (
    Arrays,
    Driven,
    DrivenSession,
    Entry,
    Floats,
    Keywords,
    script,
)
from optconform.impls.adapters.torch_optim import CLASSES, PATHS
from optconform.impls.adapters.torch_ranks import RANKS, Pair
from optconform.scenario import Scenario
from optconform.spec import Spec
from optconform.spec_file import load


class ZeroDriver:
    """One rank of a ZeroRedundancyOptimizer; every rank shows everything."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        self.make, self.dtype = make, getattr(torch, dtype)
        self.keywords = [keywords for keywords, _ in groups]
        self.params = [[self.tensor(x).requires_grad_() for x in params] for _, params in groups]
        self.build()

    def tensor(self, x: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(x)).to(self.dtype)

    def build(self) -> None:
        groups = [
            {"params": list(params), **keywords}
            for params, keywords in zip(self.params, self.keywords, strict=True)
        ]
        self.optimizer = ZeroRedundancyOptimizer(groups, self.make, **self.keywords[0])

    def step(self, gradients: Arrays) -> None:
        for params, some in zip(self.params, gradients, strict=True):
            for p, g in zip(params, some, strict=True):
                p.grad = None if g is None else self.tensor(g)
        self.optimizer.step()

    def numbers(self, x: torch.Tensor) -> Floats:
        return x.detach().double().numpy().copy()

    def parameters(self) -> list[list[Floats]]:
        return [[self.numbers(p) for p in params] for params in self.params]

    def state(self) -> list[list[dict[str, Floats]]]:
        mine = [
            [
                {k: self.numbers(x) for k, x in held.items() if torch.is_tensor(x) and k != "step"}
                for held in (self.optimizer.optim.state.get(p, {}) for p in params)
            ]
            for params in self.params
        ]
        shares: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(shares, mine)
        return [
            [
                {name: x for held in places for name, x in held.items()}
                for places in zip(*some, strict=True)
            ]
            for some in zip(*shares, strict=True)
        ]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords[group] = keywords
        self.optimizer.param_groups[group].update(keywords)

    def reload(self) -> None:
        self.optimizer.consolidate_state_dict(to=0)
        saved: list[Any] = [self.optimizer.state_dict() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(saved)
        self.build()
        self.optimizer.load_state_dict(saved[0])


class ShardDriver:
    """One rank of a module whose parameters fully_shard has divided, and of its optimizer."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        self.make, self.dtype = make, getattr(torch, dtype)
        self.keywords = [keywords for keywords, _ in groups]
        self.sizes = [len(params) for _, params in groups]
        self.module = torch.nn.ParameterList(
            [torch.nn.Parameter(self.tensor(x)) for _, params in groups for x in params]
        )
        fully_shard(self.module, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
        sharded = iter(list(self.module.parameters()))
        self.params: list[list[Any]] = [[next(sharded) for _ in range(n)] for n in self.sizes]
        self.build()

    def tensor(self, x: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(x)).to(self.dtype)

    def build(self) -> None:
        groups = [
            {"params": list(params), **keywords}
            for params, keywords in zip(self.params, self.keywords, strict=True)
        ]
        self.optimizer = self.make(groups, **self.keywords[0])

    def step(self, gradients: Arrays) -> None:
        for params, some in zip(self.params, gradients, strict=True):
            for p, g in zip(params, some, strict=True):
                p.grad = None if g is None else self.share(self.tensor(g), p)
        self.optimizer.step()

    def share(self, x: torch.Tensor, p: Any) -> Any:
        """A tensor divided as ``p`` is; every rank has the whole of it already."""
        return distribute_tensor(x, p.device_mesh, p.placements, src_data_rank=None)

    def whole(self, shares: Sequence[Any]) -> list[Floats]:
        """Tensors of which every rank has its rows, put together; one message for all of them."""
        if not shares:
            return []
        ranks = dist.get_world_size()
        rows = [-(-x.shape[0] // ranks) for x in shares]  # of each rank but the last, which pads
        mine = torch.cat(
            [
                torch.cat([y.flatten(), y.new_zeros((n - y.shape[0]) * x.shape[1:].numel())])
                for n, x in zip(rows, shares, strict=True)
                for y in [x.detach().to_local().double()]
            ]
        )
        every = mine.new_empty(ranks * mine.numel())
        dist.all_gather_into_tensor(every, mine)
        sizes = [n * x.shape[1:].numel() for n, x in zip(rows, shares, strict=True)]
        return [
            part.reshape(ranks * n, *x.shape[1:])[: x.shape[0]].numpy().copy()
            for n, x, part in zip(
                rows, shares, torch.split(every.view(ranks, -1), sizes, dim=1), strict=True
            )
        ]

    def parameters(self) -> list[list[Floats]]:
        found = iter(self.whole([p for params in self.params for p in params]))
        return [[next(found) for _ in params] for params in self.params]

    def state(self) -> list[list[dict[str, Floats]]]:
        held = [
            [
                {
                    k: x
                    for k, x in self.optimizer.state.get(p, {}).items()
                    if hasattr(x, "to_local") and k != "step"
                }
                for p in params
            ]
            for params in self.params
        ]
        found = iter(self.whole([x for params in held for some in params for x in some.values()]))
        return [[{k: next(found) for k in some} for some in params] for params in held]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords[group] = keywords
        self.optimizer.param_groups[group].update(keywords)

    def reload(self) -> None:
        saved = self.optimizer.state_dict()
        self.build()
        self.optimizer.load_state_dict(saved)


class Distributed(Driven):
    """A driver on every rank of a pair of processes."""

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        if self.driver is ShardDriver and any(
            p.shape == () for g in scenario.groups for p in g.params
        ):
            raise Unsupported("fully_shard takes no scalars")
        driver = f"{__name__}:{getattr(self.driver, '__name__', '')}"
        return DrivenSession(replace(self, driver=functools.partial(Pair, driver)), scenario)

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        head, call, body = script(self, scenario).partition("run = Driver(")
        inner = "\n".join(f"    {line}" if line else "" for line in (call + body).splitlines())
        return head + SPAWN.format(ranks=RANKS, body=inner)


SPAWN = """
def main(rank, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{{store}}", rank=rank, world_size={ranks})
    if rank > 0:
        sys.stdout = open(os.devnull, "w")
{body}
    dist.destroy_process_group()


with tempfile.TemporaryDirectory() as folder:
    mp.start_processes(main, (folder + "/store",), nprocs={ranks}, start_method="fork")
"""

IMPORTS = """
import os
import sys
import tempfile

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
""".lstrip()

ZERO = "from torch.distributed.optim import ZeroRedundancyOptimizer\n"

SHARD = (
    "from torch.distributed.device_mesh import init_device_mesh\n"
    "from torch.distributed.fsdp import fully_shard\n"
    "from torch.distributed.tensor import distribute_tensor\n"
)


def _betas(keywords: Keywords) -> Keywords:
    if "beta1" not in keywords:
        return keywords
    rest = {n: v for n, v in keywords.items() if n not in ("beta1", "beta2")}
    return {**rest, "betas": (keywords["beta1"], keywords["beta2"])}


def _entry(name: str, plain: str, options: Mapping[str, Any], link: str) -> Entry:
    spec = load(plain.lower())
    return Entry(
        name,
        f"torch.optim.{plain}",
        spec.name,
        {n: n for n in spec.hypers},
        {s.name: s.torch_name for s in spec.states.values()},
        link,
        options=options,
        adjust=_betas,
    )


DOCS = "https://docs.pytorch.org/docs/stable/distributed"


def library(name: str) -> list[Implementation]:
    """What ``torch.distributed.optim`` or ``torch.distributed.fsdp`` wraps."""
    if name == "torch.distributed.optim":
        driver: Any = ZeroDriver
        imports = ZERO
        entries = [
            _entry(f"ZeroRedundancyOptimizer[{c}]", c, {"foreach": False}, f"{DOCS}.optim.html")
            for c in CLASSES
        ]
    else:
        driver, imports = ShardDriver, SHARD
        entries = [
            _entry(f"fully_shard[{c},{path}]", c, PATHS[path], f"{DOCS}.fsdp.fully_shard.html")
            for c in CLASSES
            for path in ("single", "foreach", "fused")
            if path != "fused" or c in ("Adam", "AdamW")  # the others know no DTensor, and say so
        ]
    return [
        Distributed(entry, name, "torch", driver, IMPORTS + imports, lacks=("add-group", "layouts"))
        for entry in entries
    ]
