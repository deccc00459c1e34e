"""Which decay an implementation applies, and what it says of it: in the record and the reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from records import SAMPLE, cells

from optconform.decay import said_by_docstring, said_by_name
from optconform.errors import RequestError
from optconform.examine import Examination, Settings
from optconform.implementation import guess_spec
from optconform.impls.adapters.torch_optim import TorchLike
from optconform.reports import render_html, render_markdown
from optconform.spec_file import load


class AdamW(torch.optim.Adam):
    """Adam with decoupled weight decay, or so it says."""

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.02) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, foreach=False)


class OddInSteps(torch.optim.Adam):
    """Wrong in every third step, in a way that no variant is."""

    count = 0

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        for p in (p for g in self.param_groups for p in g["params"] if p.grad is not None):
            if self.count == 3:
                p.data += 1
        return super().step(closure)


def judged(
    subject: Any, spec: str, claimed: dict[str, str] | None = None, **hyper: float
) -> dict[str, Any]:
    made = TorchLike(subject, f"here:{subject.__name__}", "here.py", spec)
    settings = Settings(examples=12, steps=5, seed=0, hyper=hyper)
    told = Examination(made, load(spec), claimed or {}, "float32", settings, lambda _: None)
    told._contracts = lambda answer: None  # type: ignore[method-assign]
    return told.result()


def test_a_decay_that_is_not_what_name_and_docstring_say() -> None:
    found = judged(AdamW, "adamw")["decay"]
    assert found["applies"] == "l2" and found["agrees"] is False
    assert found["says"] == {"name": "decoupled", "docstring": "decoupled", "default": 0.02}


def test_a_decay_that_is_what_they_say() -> None:
    found = judged(torch.optim.AdamW, "adamw")["decay"]
    assert found["applies"] == "decoupled" and found["agrees"] is True
    assert found["says"] == {"name": "decoupled", "docstring": "decoupled", "default": 0.01}


def test_what_follows_the_plain_spec_does_not_decay_as_it_was_said_to() -> None:
    found = judged(torch.optim.Adam, "adam", {"decay": "decoupled"})
    assert found["variant"] == {} and found["decay"]["applies"] == "l2"


def test_runs_that_follow_tell_the_decay_where_others_leave_every_variant() -> None:
    found = judged(OddInSteps, "adam")
    assert found["verdict"] == "diverges" and found["variant"] is None
    assert found["decay"]["applies"] == "l2"
    assert found["decay"]["why"] == "in the runs that follow the spec"


def test_without_momentum_sgd_has_two_decays_in_one() -> None:
    found = judged(torch.optim.SGD, "sgd", momentum=0.0)["decay"]
    assert found["applies"] == "l2"
    assert {"decoupled", "l2-after-momentum"} <= set(found["alike"])


def test_what_was_not_drawn_is_not_known() -> None:
    found = judged(torch.optim.SGD, "sgd", weight_decay=0.0)["decay"]
    assert found["applies"] is None and found["agrees"] is None
    assert found["why"] == "no weight decay was drawn"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torch.optim:AdamW[fused]", "decoupled"),
        ("torch.optim:Adam[foreach]", "l2"),
        ("file.py:my.SGDW", "decoupled"),
        ("lib:DecoupledSGD", "decoupled"),
        ("lib:Lion", "decoupled"),
        ("lib:Muon", None),
    ],
)
def test_what_a_name_says(name: str, says: str | None) -> None:
    assert said_by_name(name) == says


NAMES = {
    "adam": "Adam adam MyAdam CPUAdam DeepSpeedCPUAdam LazyAdam SparseAdam Adam8bit AdamOptimizer "
    "KerasAdam AdamWithNorms FusedAdamWithClip adam_with_norms AdamState fusedadam ADAM Adam_2",
    "adamw": "AdamW adamw FusedAdamW AdamW8bit PagedAdamW32bit DecoupledAdamW adamw_fp32 AdamWFp32 "
    "AdamWBF16 AdamWR ADAMW ADAMWFused AdamWScheduleFree AdamWRunner Adam_W _AdamW myadamw Adamw8",
    "sgd": "SGD SGDMomentum NesterovSGD SGDm SGDWithMomentum SGDPlus FusedSGD SGD_Nesterov sgd2",
    "sgd decoupled": "SGDW sgdw sgd_w SGDw SgdwRunner DecoupledSGD DecoupledSGDW SGDW8bit",
    "rmsprop": "RMSProp RMSprop RmsProp RMS_prop RMSPropTF TFRMSProp RMSpropOptimizer",
    "adadelta": "AdaDelta Adadelta MyAdaDelta",
    "adagrad": "AdaGrad Adagrad RowWiseAdagrad DecayedAdaGrad",
    "adamax": "Adamax AdaMax FusedAdamax adamax",
    "adamax decoupled": "AdamaxW adamaxw",
    "lion": "Lion Lion8bit PagedLion FusedLion LionW",
    "": "StableAdamW StableAdamW8bit NAdam FusedNAdam RAdam AdamP MyAdamP ASGD SignSGD AdaMod "
    "AdaBelief AdamMini Muon",
}
"""What a reader takes the name of a class for: the spec, and whether the decay is decoupled."""


@pytest.mark.parametrize(
    ("name", "means"), [(n, means) for means, some in NAMES.items() for n in some.split()]
)
def test_a_name_is_read_by_its_words(name: str, means: str) -> None:
    spec, _, decay = means.partition(" ")
    if not spec:
        with pytest.raises(RequestError, match=f"cannot tell which spec {name} claims"):
            guess_spec(None, name)
        return
    assert guess_spec(None, name) == spec
    decouples = decay or spec in ("adamw", "lion")
    assert said_by_name(f"lib:{name}") == ("decoupled" if decouples else "l2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("weight_decay (float): weight decay (L2 penalty) (default: 0)", "l2"),
        ("Decoupled!\n\nArgs:\n    weight_decay: L2 penalty\n    eps: small", "l2"),
        ("Args:\n    weight_decay: amount\n    decoupled_weight_decay: as in AdamW", None),
        ("Adam with decoupled weight decay.", "decoupled"),
        ("L2 or decoupled, as you like", None),
        ("", None),
        (torch.optim.Adam.__doc__ or "", "l2"),
        (torch.optim.AdamW.__doc__ or "", "decoupled"),
    ],
)
def test_what_a_docstring_says(text: str, says: str | None) -> None:
    assert said_by_docstring(text) == says


def test_reports_tell_it_and_live_without_it() -> None:
    record: dict[str, Any] = json.loads(SAMPLE.read_text("utf-8"))
    assert "Weight decay" not in render_markdown(record)
    render_html(record)
    first = record["results"][0]
    first["decay"] = {
        "applies": "l2", "alike": [], "effect": "added <i>", "why": None, "agrees": False,
        "says": {"name": "decoupled", "docstring": None, "default": 0.01},
    }  # fmt: skip
    page, told = render_html(record), render_markdown(record)
    assert '<b>l2</b> <span class="bad">but it says otherwise</span>' in page
    assert "<td>added &lt;i&gt;</td><td>decoupled</td>" in page
    opened = "".join(cells(page))
    assert "l2: added &lt;i&gt;; its name says decoupled; by default weight_decay = 0.01" in opened
    assert "| **l2** | decoupled | — | 0.01 |" in told
