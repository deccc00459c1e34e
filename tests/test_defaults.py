"""The table of defaults: what is read from constructors, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from called import called

from optconform.implementation import resolve
from optconform.impls.adapters.driven import Entry
from optconform.impls.adapters.torch_declared import Declared
from optconform.impls.adapters.torch_optim import TORCH, TorchLike
from optconform.listing import defaults_table
from optconform.signature import defaults_of, distinct
from optconform.spec_file import load


def odd(
    params: Any,
    lr: float,
    betas: Sequence[float] = (0.0, 0.9),
    eps: float = 1e-8,
    weight_decay: float | None = None,
    momentum: float = 0.5,
    hook: Any = print,
    **options: Any,
) -> None:
    """Never called: only its signature is read."""


def told(implementation: Any) -> dict[str, Any]:
    found = defaults_of(implementation, load(implementation.spec))
    assert found is not None
    return found


def test_torch_has_the_defaults_of_the_specs() -> None:
    rows = [told(i) for i in resolve("torch", None)]
    assert not any(h["differs"] for r in rows for h in r["hypers"].values())
    adam = next(r for r in rows if r["implementation"] == "torch.optim:Adam[fused]")
    assert adam["hypers"]["beta2"] == {
        "keyword": "betas[1]", "default": 0.999, "required": False, "known": True,
        "spec": 0.999, "differs": False,
    }  # fmt: skip
    assert adam["others"]["capturable"] is False
    assert "params" not in adam["others"] and "betas" not in adam["others"]
    names = [r["implementation"] for r in distinct(rows)]
    assert names == [f"torch.optim:{c}" for c in TORCH]


def test_a_keyword_is_found_by_what_is_passed() -> None:
    entry = Entry(
        "odd",
        "here.odd",
        "rmsprop",
        {"lr": "lr", "alpha": "alpha", "eps": "eps", "weight_decay": "weight_decay"},
        {},
        "https://example.org",
        adjust=lambda k: {
            **{n: v for n, v in k.items() if n != "alpha"}, "betas": (0.0, k["alpha"]),
        },
    )  # fmt: skip
    made = Declared(
        subject=odd,
        name="here:odd",
        module="here",
        spec="rmsprop",
        entry=entry,
        distribution="torch",
    )
    hypers = told(made)["hypers"]
    assert hypers["alpha"]["keyword"] == "betas[1]"
    assert hypers["alpha"]["default"] == 0.9 and hypers["alpha"]["differs"]
    assert hypers["lr"]["required"] and not hypers["lr"]["differs"]
    assert hypers["weight_decay"]["default"] is None and not hypers["weight_decay"]["differs"]
    # momentum is no hyperparameter of this entry, whatever the constructor has of that name
    assert hypers["momentum"]["keyword"] is None
    assert told(made)["others"] == {"momentum": 0.5, "hook": "<builtin_function_or_method>"}


def test_what_a_signature_does_not_show_is_not_known() -> None:
    def hidden(params: Any, **options: Any) -> None: ...

    hypers = told(TorchLike(hidden, "here:hidden", "here.py", "sgd"))["hypers"]
    assert hypers["lr"]["keyword"] == "lr" and not hypers["lr"]["known"]
    assert not hypers["lr"]["differs"]


def test_who_shows_no_constructor_has_no_row() -> None:
    class Silent:
        name, spec = "silent", "sgd"

    silent: Any = Silent()
    assert defaults_of(silent, load("sgd")) is None


def test_the_table() -> None:
    rows = distinct([told(TorchLike(odd, "here:odd", "here.py", "rmsprop"))])
    table = defaults_table("rmsprop", rows)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["the spec", "here:odd"]
    by_name = dict(zip(load("rmsprop").hypers, cells[1:], strict=True))
    assert by_name["lr"] == ["0.01", "required"]
    assert by_name["momentum"] == ["0", "0.5*"]


def test_the_command_prints_the_table_and_writes_it(tmp_path: Path) -> None:
    done = called("list", "defaults", "torch.optim:AdamW", "--json", tmp_path / "defaults.json")
    assert done.returncode == 0, done.stderr
    assert "torch.optim:AdamW" in done.stdout and "0.999 (betas[1])" in done.stdout
    data = json.loads((tmp_path / "defaults.json").read_text())
    assert data["schema"] == "optconform/defaults/1"
    (row,) = data["classes"]
    assert row["constructor"] == "torch.optim.adamw.AdamW"
    assert row["hypers"]["weight_decay"]["default"] == 0.01
    assert data["environment"]["torch"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["specs", "torch"], "takes neither a target"),
        (["defaults", "nolibrary"], "nolibrary"),
        (["defaults", "torch", "--json", "/nowhere/x.json"], "no folder"),
    ],
)
def test_what_cannot_be_listed_is_told(arguments: list[str], said: str) -> None:
    done = called("list", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
