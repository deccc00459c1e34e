"""optconform compare: what it proves holds, what it prints can be computed by hand."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from decimal import Decimal, localcontext
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optconform.cli import main
from optconform.comparing import record_of
from optconform.comparison.coincide import coincidences, under
from optconform.comparison.march import march
from optconform.comparison.pair import pair, side
from optconform.comparison.separate import separation
from optconform.errors import RequestError
from optconform.impls.reference import SGD, Adam, AdamW
from optconform.interpreter import machine
from optconform.record import dumps
from optconform.reports import comparison_html, comparison_markdown, tell_comparison
from optconform.spec import Spec
from optconform.spec_file import load

Record = dict[str, Any]


@functools.cache
def record(a: str, b: str, *fixed: tuple[str, float], seed: int = 0) -> Record:
    made: Record = json.loads(dumps(record_of(a, b, dict(fixed), seed)))
    return made


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_settings_whose_first_lr_decides_differently_run_apart(tmp_path: Path) -> None:
    path = tmp_path / "first.toml"
    path.write_text("""
        name = "first"
        title = "F"
        cite = "x"
        hyper.lr = { default = 0.1, domain = "[0, inf)" }
        step.p = "p - grad if lr0 > 1 else p + grad"
    """)
    m = machine(load(str(path)), {})
    settings = [{"lr": 0.5}, {"lr": 2.0}]
    ends = march(m, settings, np.zeros(1), lambda t: np.ones(1), at=[3], halvings=[1])
    assert ends[0, :, 0].tolist() == [3.0, -3.0]


# ---- proofs ----------------------------------------------------------------------------------


def proved(a: str, b: str) -> list[tuple[str, ...]]:
    found = coincidences(pair(side(a), side(b)))
    return [()] if found.always else [c.when for c in found.named]


@pytest.mark.parametrize(
    ("a", "b", "when"),
    [
        ("adam", "adamw", [("weight_decay = 0",)]),
        ("adamw", "adam[decay=decoupled]", [()]),
        ("adam", "adam", [()]),
        ("sgd[decay=l2-after-momentum]", "sgd[decay=decoupled]", [()]),
        ("rmsprop[decay=l2-after-momentum]", "rmsprop[decay=decoupled]", [()]),
        ("sgd", "sgd[decay=decoupled]", [("momentum = 0",), ("weight_decay = 0",)]),
        ("sgd", "sgd[momentum=lr-in-buffer]", [("momentum = 0",), ("lr constant",)]),
        (
            "adamw[decay=decoupled-no-lr]",
            "adamw[decay=decoupled-relative-lr]",
            [("weight_decay = 0",), ("lr constant",)],
        ),
        ("adam", "adam[eps=inside]", [("eps = 0",)]),
        ("adam", "adam[eps=clamp]", [("eps = 0",)]),
        ("adam", "adam[bias_correction=none]", [("beta1 = 0", "beta2 = 0")]),
        ("adam", "adam[amsgrad_max=corrected]", [("beta2 = 0",), ("amsgrad off",)]),
        ("adagrad", "adagrad[accumulator_init=0.1]", []),
        ("sgd", "adagrad", []),
    ],
)
def test_where_they_coincide_is_proved(a: str, b: str, when: list[tuple[str, ...]]) -> None:
    assert proved(a, b) == when


ALIASES = {("sgd", "decay=decoupled", "decay=l2-after-momentum")}


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_nothing_but_an_alias_is_called_the_same(name: str) -> None:
    """A prover that said yes too easily would call some of these one formula."""
    spec = load(name)
    variants = [
        f"{a.name}={v}"
        for a in spec.axes.values()
        for v, choice in a.choices.items()
        if v != a.default and not choice.needs
    ]
    for k, x in enumerate(variants):
        for y in variants[:k]:
            if x.split("=")[0] == y.split("=")[0]:
                same = under(pair(side(f"{name}[{y}]"), side(f"{name}[{x}]")), {}) is not None
                assert same == ((name, y, x) in ALIASES), (x, y)


def meeting(spec: Spec, when: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    """A random setting in which the conditions, in words, hold."""
    hypers: dict[str, Any] = {}
    for name, hyper in spec.hypers.items():
        high = 1.0 if hyper.domain is None else min(hyper.domain.high, 1.0)
        hypers[name] = False if hyper.domain is None else float(rng.uniform(0.05, 0.95) * high)
    for words in when:
        name, *rest = words.split(" ")
        if name != "lr":
            hypers[name] = {"off": False, "on": True}.get(rest[-1], 0.0)
    return hypers


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("adam", "adamw"),
        ("adam", "adam[eps=hat]"),
        ("adam", "adam[bias_correction=none]"),
        ("sgd", "sgd[decay=decoupled]"),
        ("sgd", "sgd[momentum=lr-in-buffer]"),
        ("adamw", "adamw[decay=decoupled-lr-squared]"),
    ],
)
def test_what_is_proved_holds_in_runs_and_fails_beyond_them(a: str, b: str) -> None:
    p = pair(side(a), side(b))
    rng = np.random.default_rng(4)
    start = rng.standard_normal(8)
    gradients = rng.standard_normal((12, 8))

    def distance(hypers: Mapping[str, Any], halvings: tuple[int, ...]) -> float:
        x, y = (
            march(machine(s.spec, s.variant), [s.own(hypers)], start,
                  lambda t: gradients[t - 1], at=(12,), halvings=halvings)
            for s in p.sides
        )  # fmt: skip
        return float(np.abs(x - y).max())

    for when in proved(a, b):
        for _ in range(3):
            hypers = meeting(p.both, when, rng)
            assert distance(hypers, () if "lr constant" in when else (3, 7)) < 1e-15, when
    assert distance(meeting(p.both, (), rng), (3, 7)) > 1e-6


def test_hyperparameters_that_were_asked_for_join_the_proof() -> None:
    told = record("adam", "adamw", ("weight_decay", 0.0))
    assert told["same"] and told["coincide"]["always"] is None
    assert told["coincide"]["asked"]["when"] == ["weight_decay = 0"]
    assert told["separation"] is None and told["trajectories"] is None


# ---- the smallest input, by hand -------------------------------------------------------------

Step = Callable[[dict[str, Decimal], dict[str, Any], Decimal, Decimal, int], None]


def decimals(hypers: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v if isinstance(v, bool) else Decimal(v) for n, v in hypers.items()}


def adam_step(decoupled: bool, eps_inside: bool = False) -> Step:
    def step(s: dict[str, Decimal], h: dict[str, Any], g: Decimal, lr: Decimal, t: int) -> None:
        if decoupled:
            s["p"] -= lr * h["weight_decay"] * s["p"]
        else:
            g += h["weight_decay"] * s["p"]
        s["m"] = h["beta1"] * s.get("m", Decimal(0)) + (1 - h["beta1"]) * g
        s["v"] = h["beta2"] * s.get("v", Decimal(0)) + (1 - h["beta2"]) * g * g
        m, v = s["m"] / (1 - h["beta1"] ** t), s["v"] / (1 - h["beta2"] ** t)
        root = (v + h["eps"]).sqrt() if eps_inside else v.sqrt() + h["eps"]
        s["p"] -= lr * m / root

    return step


def sgd_step(*, decoupled: bool = False, lr_inside: bool = False) -> Step:
    def step(s: dict[str, Decimal], h: dict[str, Any], g: Decimal, lr: Decimal, t: int) -> None:
        old = s["p"]
        if not decoupled:
            g += h["weight_decay"] * old
        u = lr * g if lr_inside else g
        mu = h["momentum"]
        s["b"] = u if t == 1 else mu * s["b"] + (1 - h["dampening"]) * u
        d = u if mu == 0 else u + mu * s["b"] if h["nesterov"] else s["b"]
        s["p"] -= d if lr_inside else lr * d
        if decoupled:
            s["p"] -= lr * h["weight_decay"] * old

    return step


def adagrad_step(first: int) -> Step:
    def step(s: dict[str, Decimal], h: dict[str, Any], g: Decimal, lr: Decimal, t: int) -> None:
        g += h["weight_decay"] * s["p"]
        begin = Decimal(first) if first else h["initial_accumulator_value"]
        s["s"] = s.get("s", begin) + g * g
        s["p"] -= lr / (1 + (t - 1) * h["lr_decay"]) * g / (s["s"].sqrt() + h["eps"])

    return step


BY_HAND = [
    ("adam", "adamw", adam_step(False), adam_step(True)),
    ("adam", "adam[eps=inside]", adam_step(False), adam_step(False, True)),
    ("sgd", "sgd[decay=decoupled]", sgd_step(), sgd_step(decoupled=True)),
    ("sgd", "sgd[momentum=lr-in-buffer]", sgd_step(), sgd_step(lr_inside=True)),
    ("adagrad", "adagrad[accumulator_init=one]", adagrad_step(0), adagrad_step(1)),
]


@pytest.mark.parametrize(("a", "b", "first", "second"), BY_HAND, ids=lambda x: str(x)[:24])
def test_the_smallest_input_gives_both_values_by_hand(
    a: str, b: str, first: Step, second: Step
) -> None:
    p = pair(side(a), side(b))
    found = separation(p, coincidences(p), fixed={})
    assert found is not None
    assert found.steps <= 2
    with localcontext(prec=60):
        h = decimals(found.hypers)
        for step, told in ((first, found.value_a), (second, found.value_b)):
            state = {"p": Decimal(found.start)}
            for t, (g, lr) in enumerate(zip(found.gradients, found.lrs, strict=True), 1):
                step(state, h, Decimal(g), Decimal(lr), t)
            assert abs(state["p"] - Decimal(told)) < Decimal("1e-22")
        apart = abs(Decimal(found.value_a) - Decimal(found.value_b))
    for d in found.dtypes:
        if d.ratio:
            assert d.ratio == pytest.approx(float(apart) / (d.bound_a + d.bound_b), rel=1e-9)
    assert {d.dtype for d in found.dtypes if d.apart} >= {"float32", "float64"}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_faithful_optimizers_are_told_apart_by_it(dtype: str) -> None:
    """What an implementation of each side gives lies in its own bound, not in the other's."""
    found = record("adam", "adamw")["separation"]
    h = found["hypers"]
    (bounds,) = [d for d in found["dtypes"] if d["dtype"] == dtype]
    assert bounds["apart"]
    values = {}
    for name, make in (("a", Adam), ("b", AdamW)):
        p = torch.full((1,), found["start"], dtype=getattr(torch, dtype), requires_grad=True)
        optimizer = make(
            [p], lr=h["lr"], betas=(h["beta1"], h["beta2"]), eps=h["eps"],
            weight_decay=h["weight_decay"],
        )  # fmt: skip
        for g in found["gradients"]:
            p.grad = torch.full_like(p, g)
            optimizer.step()
        values[name] = p.item()
    a, b = float(found["value_a"]), float(found["value_b"])
    assert abs(values["a"] - a) <= bounds["bound_a"] < abs(values["a"] - b)
    assert abs(values["b"] - b) <= bounds["bound_b"] < abs(values["b"] - a)


def test_where_a_dtype_is_too_coarse_it_says_so() -> None:
    p = pair(side("adam"), side("adam[amsgrad_max=corrected]"))
    found = separation(p, coincidences(p), fixed={})
    assert found is not None
    assert found.steps == 2  # the first maximum is the same
    assert [d.dtype for d in found.dtypes if not d.apart and not d.others] == ["bfloat16"]
    dtypes = [{**asdict(d), "apart": d.apart} for d in found.dtypes]
    other = {**asdict(found), "steps": found.steps, "dtypes": dtypes}
    told = comparison_markdown({**record("adam", "adamw"), "separation": other})
    assert re.search(r"bfloat16 .* nothing of this size separates them \(\d+ inputs tried\)", told)


# ---- trajectories ----------------------------------------------------------------------------


def draws(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(16).astype(np.float32).astype(float)
    return start, rng.standard_normal((1000, 16)).astype(np.float32).astype(float)


def adam_by_hand(start: np.ndarray, gradients: np.ndarray, lr: float, wd: float, decoupled: bool):
    p, m, v = start.copy(), np.zeros(16), np.zeros(16)
    for t, grad in enumerate(gradients, 1):
        g = grad if decoupled else grad + wd * p
        p = p * (1 - lr * wd) if decoupled else p
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


@pytest.mark.parametrize(("lr", "wd"), [(1e-3, 0.01), (1e-2, 0.1)])
def test_distances_are_those_of_adam_and_adamw_by_hand(lr: float, wd: float) -> None:
    found = record("adam", "adamw")["trajectories"]
    start, gradients = draws(0)
    for steps, place in ((10, 1), (100, 2)):
        a, b = (adam_by_hand(start, gradients[:steps], lr, wd, x) for x in (False, True))
        (row,) = [
            r for r in found["rows"]
            if (r["gradients"], r["scale"], r["lr"], r["value"]) == ("normal", 1.0, lr, wd)
        ]  # fmt: skip
        by_hand = np.linalg.norm(a - b) / np.linalg.norm(a - start)
        assert row["distance"][place] == pytest.approx(by_hand, rel=1e-9)


def test_l2_is_rescaled_by_the_gradients_and_decoupled_decay_is_not() -> None:
    found = record("adam", "adamw")["trajectories"]
    l2, decoupled = found["decay"]
    assert l2["rescaled"] and not decoupled["rescaled"]
    shrunk = 1 - (1 - 1e-3 * 0.01) ** 100
    assert decoupled["taken"] == pytest.approx([shrunk] * 3, rel=1e-12)
    small, one, large = l2["taken"]
    assert small > 10 * one and one > 500 * large
    # SGD has no root: either decay is the same at every scale, but L2 gains by the momentum
    sgd = record("sgd", "sgd[decay=decoupled]")["trajectories"]
    assert sgd["setting"]["hypers"]["momentum"] == 0.9  # without it the two are one formula
    assert not any(d["rescaled"] for d in sgd["decay"])
    assert sgd["decay"][0]["taken"][1] > 5 * sgd["decay"][1]["taken"][1]


def test_where_only_a_change_of_lr_parts_them_lr_changes() -> None:
    found = record("sgd", "sgd[momentum=lr-in-buffer]")
    assert len(set(found["separation"]["lrs"])) == 2
    assert found["trajectories"]["setting"]["halvings"] == [5, 50, 500]
    assert min(r["parts"] or 6 for r in found["trajectories"]["rows"]) == 6
    assert all(r["distance"][0] == 0 for r in found["trajectories"]["rows"])


def test_both_run_at_equal_hyperparameters_and_once_at_their_own_defaults() -> None:
    found = record("adam", "adamw")
    assert found["defaults"] == [{"name": "weight_decay", "symbol": "λ", "a": 0.0, "b": 0.01}]
    start, gradients = draws(0)
    a, b = (adam_by_hand(start, gradients[:10], 1e-3, wd, wd > 0) for wd in (0.0, 0.01))
    by_hand = np.linalg.norm(a - b) / np.linalg.norm(a - start)
    assert found["trajectories"]["own"][1] == pytest.approx(by_hand, rel=1e-9)
    assert record("sgd", "sgd[momentum=lr-in-buffer]")["trajectories"]["own"] is None


# ---- what is written -------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags with their attributes, every element closed in order."""

    VOID = frozenset({"meta", "input", "br", "link", "img", "hr"})

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_from_outside() -> None:
    source = comparison_html(record("adam", "adamw"))
    page = Page(source)
    names = {tag for tag, _ in page.tags}
    assert "svg" in names
    assert not names & {
        "script",
        "image",
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "foreignobject",
    }
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert name != "src" and not name.startswith("on")
            if name in ("href", "xlink:href") and tag != "a":
                assert value and value[0] == "#" and value[1:] in ids
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target[0] == "#" and target[1:] in ids
    outside = {x for x in links if x and x[0] != "#"}
    assert outside == {"https://arxiv.org/abs/1412.6980", "https://arxiv.org/abs/1711.05101"}
    assert not re.search(r"@import|xmlns|#0[1-6]0[1-6]0[1-6]", source)
    assert "default-src 'none'" in source


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    asked = ("sgd", "sgd[momentum=ema]", "--hyper", "lr=0.01")
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        names = [folder / n for n in ("c.json", "c.html", "c.md")]
        outputs = zip(("--json", "--html", "--markdown"), names, strict=True)
        assert command(*asked, "--seed", 3, *sum(outputs, ())) == 0
        written.append([n.read_bytes() for n in names])
        assert sorted(folder.iterdir()) == sorted(names)
    assert written[0] == written[1]
    other = record("sgd", "sgd[momentum=ema]", ("lr", 0.01), seed=0)["trajectories"]["rows"]
    assert json.loads(written[0][0])["trajectories"]["rows"] != other


def test_the_terminal_tells_what_the_record_holds(capsys: pytest.CaptureFixture[str]) -> None:
    found = record("adam", "adamw")
    tell_comparison(found)
    said = " ".join(capsys.readouterr().out.split())
    for text in (
        "adam and adamw are different formulas.",
        "g ← (−∇f(p) if maximize else ∇f(p)) + λ·p",
        "p ← p·(1 − rate) − update",
        "With weight_decay = 0: the same parameters and state; proved",
        f"adam gives {float(found['separation']['value_a']):.10g}",
        f"adamw gives {float(found['separation']['value_b']):.10g}",
        "the parameter shrinks by lr * weight_decay, apart from the moments (AdamW)",
    ):
        assert text in said, text


def test_equal_specs_are_the_same_formula(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("adam", "adam[eps=outside]") == 0
    said = capsys.readouterr().out
    assert "are the same formula." in said
    assert "smallest input" not in said


HOSTILE = """\
name = "toy<b>x</b>|y"
title = "<script>alert(1)</script>"
cite = "nobody `code` \\u001b[31m"
[hyper]
lr = { default = 0.1, domain = "[0, inf)" }
[step]
p = "p - lr * grad"
[variant.kind]
plain = { effect = "<img src=x onerror=alert(1)>", links = ["javascript:alert(1)"] }
odd = { effect = "**bold** | cell", p = "p - 2 * lr * grad" }
"""


def test_everything_of_a_spec_is_escaped(tmp_path: Path) -> None:
    toy = tmp_path / "toy.toml"
    toy.write_text(HOSTILE, encoding="utf-8")
    found = record(str(toy), f"{toy}[kind=odd]")
    page = Page(comparison_html(found))
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert "<script>alert(1)</script>" in page.words and "\\u001b[31m" in page.words
    assert not any((a.get("href") or "").startswith("javascript") for _, a in page.tags)
    told = comparison_markdown(found)
    assert "<img" not in told and "<script" not in told and "javascript:" not in told
    assert "\\*\\*bold\\*\\* &#124; cell" in told


FLAG = """\
name = "flag"
title = "Flag"
cite = "nobody"
[hyper]
lr = { default = false }
[step]
p = "p - (2 if lr else 1) * grad"
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nospec", "adam"), "nospec"),
        (("adam", "nospec.toml"), "nospec.toml"),
        (("adam", "adam[noaxis=1]"), "noaxis"),
        (("adam", "adam[eps=novalue]"), "novalue"),
        (("adam", "adam[eps"), "adam[eps"),
        (("adam", "adam[eps]"), "AXIS=VALUE"),
        (("adam", "adam[eps=hat,eps=inside]"), "twice"),
        (("adam", "adam[decay_order=after]"), "needs decay"),
        (("adam", "adamw", "--hyper", "momentum=0.9"), "momentum"),
        (("adam", "adamw", "--hyper", "lr=-1"), "domain"),
        (("sgd", "sgd", "--hyper", "nesterov=True", "--hyper", "momentum=0"), "nesterov"),
        (("sgd", "flag.toml"), "lr is a flag in one and a number in the other"),
        (("adam", "adamw", "--seed", "-1"), "seed"),
    ],
)
def test_a_bad_request_gives_one_line_and_writes_nothing(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flag.toml").write_text(FLAG, encoding="utf-8")
    assert command(*arguments, "--html", "out.html", "--json", "out.json") == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith("optconform: ") and said in err
    assert [p.name for p in tmp_path.iterdir()] == ["flag.toml"]


def test_a_side_is_named_as_it_is_asked_for() -> None:
    assert side("adam").label == "adam"
    assert side(" adam[ eps = inside , decay=l2 ]").label == "adam[eps=inside]"
    assert side("adagrad[accumulator_init=0.25]").label == "adagrad[accumulator_init=0.25]"
    with pytest.raises(RequestError):
        side("[eps=inside]")


def test_the_reference_sgd_agrees_with_the_proof_about_momentum() -> None:
    """Without momentum L2 is decoupled decay: the textbook's own optimizer shows it."""
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = SGD([p], lr=0.5, weight_decay=0.25)
    by_hand = p.detach().clone()
    for g in (1.0, -0.5, 0.25):
        p.grad = torch.full_like(p, g)
        optimizer.step()
        by_hand = by_hand * (1 - 0.5 * 0.25) - 0.5 * g
    assert torch.equal(p.detach(), by_hand)
