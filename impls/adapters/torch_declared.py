"""Torch-like optimizers that an entry of a table describes: their own words, states and groups."""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optconform.impls.adapters.driven import Entry, Keywords
from optconform.impls.adapters.torch_optim import TorchLike
from optconform.spec import Hypers, Spec, Value


@dataclass(frozen=True, kw_only=True)
class Declared(TorchLike):
    """A torch-like optimizer that an entry of a table describes.

    ``regroup`` adds to a group's options what the library reads instead of the constructor's;
    ``settled`` are those of them that stay as they were at first.
    """

    entry: Entry
    distribution: str
    clock: str = "parameter"
    lacks: Sequence[str] = ()
    regroup: Callable[[Keywords], Keywords] = lambda keywords: {}
    settled: Sequence[str] = ()

    @property
    def library(self) -> str:
        return self.distribution

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.distribution)

    @property
    def link(self) -> str:
        return self.entry.link

    @property
    def silent(self) -> Sequence[str]:
        return self.entry.silent

    def accepts(self, name: str) -> bool:
        return name in self.entry.keywords

    def fixed(self, spec: Spec) -> dict[str, Value]:
        return {**super().fixed(spec), **self.entry.fixed}

    def keywords(self, hyper: Hypers) -> dict[str, Any]:
        return self.entry.adjust({word: hyper[n] for n, word in self.entry.keywords.items()})

    def group(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        return {**keywords, **self.regroup(dict(keywords))}

    def changed(self, hypers: Hypers, new: Mapping[str, Value]) -> dict[str, Any]:
        found = super().changed(hypers, new)
        return {k: v for k, v in found.items() if k not in self.settled}

    def state_names(self, spec: Spec) -> dict[str, Sequence[str]]:
        return {n: (there,) for n, there in self.entry.state.items()}
