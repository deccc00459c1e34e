"""Libraries of optimizers that derive from torch.optim.Optimizer, by a table of what they offer.

Read in pytorch_optimizer 4.1.0: ``optimizer/{sgd,adadelta,flash_adamw,lion}.py`` (``step``,
``_step_*``) and ``base/optimizer.py`` (``apply_weight_decay``); its SGD, RMSprop, Adam and AdamW
are those of torch.optim.  torch_optimizer 0.3.0: ``sgdw.py``, ``lamb.py``.  optimi (torch-optimi
0.3.3): ``{sgd,adam,lion}.py`` (``_single_param_*``, ``_init_state``); Adam's averages hold the
corrected moments there and so are not the spec's.  bitsandbytes 0.50.2: ``backends/cpu/ops.py``
(``_optimizer_update_32bit_cpu``); state in 8 bits, which takes 4096 elements, is not judged.
heavyball 3.2.1: ``utils.py`` (``_compilable_adam_``, ``eps_sqrt``, ``_compilable_update_``),
judged with its ``compile_mode`` None.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optconform.implementation import Implementation, Session, Unsupported
from optconform.impls.adapters.driven import Entry, Keywords, named
from optconform.impls.adapters.torch_declared import Declared
from optconform.scenario import Scenario
from optconform.spec import Spec


class Heavyball(Declared):
    """Its functions are compiled when they are first called, unless they are told not to be."""

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        utils: Any = importlib.import_module("heavyball.utils")
        utils.compile_mode = None
        return super().start(scenario, spec)


def _betas(keywords: Keywords) -> Keywords:
    rest = {n: v for n, v in keywords.items() if n not in ("b1", "b2")}
    return {**rest, "betas": (keywords["b1"], keywords["b2"])}


def _positive_lr(keywords: Keywords) -> Keywords:
    if keywords["lr"] <= 0:
        raise Unsupported("it refuses lr = 0")
    return _betas(keywords) if "b1" in keywords else keywords


def _below_one(keywords: Keywords) -> Keywords:
    if keywords["momentum"] >= 1:
        raise Unsupported("it refuses momentum = 1")
    return keywords


def _same(*names: str) -> dict[str, str]:
    return {n: n for n in names}


ADAM = {**_same("lr", "eps", "weight_decay"), "beta1": "b1", "beta2": "b2"}
DECOUPLED = {"decay": "decoupled"}
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
LION = {**_same("lr", "weight_decay"), "beta1": "b1", "beta2": "b2"}


@dataclass(frozen=True)
class Shelf:
    """The table of one library."""

    distribution: str
    where: str
    entries: Sequence[Entry]
    more: Mapping[str, Any] = field(default_factory=dict)  # of ``Declared``, the same for all
    clock: str = "parameter"  # where t is in the equations; a buffer begins with its parameter
    kind: type[Declared] = Declared


SINGLE = {"foreach": False}


def _both(entry: Entry) -> tuple[Entry, Entry]:
    """The entry by each of its two code paths."""
    return (
        replace(entry, name=f"{entry.name}[single]"),
        replace(entry, name=f"{entry.name}[foreach]", options={**entry.options, "foreach": True}),
    )


# ---- pytorch_optimizer -----------------------------------------------------------------------

POZ = "https://pytorch-optimizers.readthedocs.io/en/latest/optimizer/#pytorch_optimizer"
SGDW = _same("lr", "momentum", "dampening", "weight_decay", "nesterov")
ADADELTA = _same("lr", "rho", "eps", "weight_decay")
MOMENTUM = {"m": "exp_avg"}
COUPLED = {"weight_decouple": False}
ACCUMULATED = {"v": "square_avg", "a": "acc_delta"}


def _poz(
    name: str, spec: str, keywords: Any, state: Any, options: Any = SINGLE, **more: Any
) -> Entry:
    plain = name.partition("[")[0]
    make = f"pytorch_optimizer.{plain}"
    options = {**SINGLE, **options}
    return Entry(name, make, spec, keywords, state, f"{POZ}.{plain}", options=options, **more)


def _sgdw(name: str, variant: Any, options: Any = SINGLE, **more: Any) -> Entry:
    buffer = {"b": "momentum_buffer"}
    return _poz(name, "sgd", SGDW, buffer, options, variant=variant, adjust=_below_one, **more)


PYTORCH_OPTIMIZER = Shelf(
    "pytorch_optimizer",
    "pytorch_optimizer",
    (
        *_both(_sgdw("SGDW", DECOUPLED)),
        # an attribute of the whole optimizer; a group's own has no effect
        _sgdw("SGDW[maximize]", DECOUPLED, {"maximize": True}, fixed={"maximize": True}),
        _sgdw("SGDW[l2]", {}, COUPLED),
        *_both(_poz("AdaDelta", "adadelta", ADADELTA, ACCUMULATED)),
        _poz(
            "AdaDelta[decoupled]",
            "adadelta",
            ADADELTA,
            ACCUMULATED,
            {"weight_decouple": True},
            variant=DECOUPLED,
        ),
        _poz(
            "AdaDelta[fixed-decay]",
            "adadelta",
            ADADELTA,
            ACCUMULATED,
            {"weight_decouple": True, "fixed_decay": True},
            variant={"decay": "decoupled-no-lr"},
        ),
        *_both(_poz("FlashAdamW", "adamw", ADAM, MOMENTS, {"quantize": False}, adjust=_betas)),
        _poz(
            "FlashAdamW[decouple-lr]",
            "adamw",
            ADAM,
            MOMENTS,
            {"quantize": False, "decouple_lr": True},
            variant={"decay": "decoupled-relative-lr"},
            adjust=_positive_lr,
        ),
        *_both(_poz("Lion", "lion", LION, MOMENTUM, adjust=_betas)),
        _poz("Lion[l2]", "lion", LION, MOMENTUM, COUPLED, variant={"decay": "l2"}, adjust=_betas),
    ),
    clock="optimizer",
)

# ---- torch_optimizer -------------------------------------------------------------------------

JETTIFY = "https://pytorch-optimizer.readthedocs.io/en/latest/api.html"

TORCH_OPTIMIZER = Shelf(
    "torch-optimizer",
    "torch_optimizer",
    (
        Entry(
            "SGDW",
            "torch_optimizer.SGDW",
            "sgd",
            _same("lr", "momentum", "dampening", "weight_decay", "nesterov"),
            {"b": "momentum_buffer"},
            f"{JETTIFY}#sgdw",
            {"decay": "decoupled"},
            adjust=_positive_lr,
        ),
        # "turns this into Adam"; its paper has no correction, its decay joins what lr multiplies
        Entry(
            "Lamb[adam]",
            "torch_optimizer.Lamb",
            "adamw",
            ADAM,
            MOMENTS,
            f"{JETTIFY}#lamb",
            {"bias_correction": "none"},
            silent=("decay",),
            options={"adam": True},
            adjust=_positive_lr,
        ),
    ),
)

# ---- optimi ----------------------------------------------------------------------------------

SGD_KEYWORDS = _same("lr", "momentum", "weight_decay")
OPTIMI_DOCS = "https://optimi.benjaminwarner.dev"


def _optimi(name: str, spec: str, variant: Any, options: Any) -> Entry:
    plain = name.partition("[")[0]
    keywords: Mapping[str, str] = {"SGD": SGD_KEYWORDS, "Lion": LION}.get(plain, ADAM)
    return Entry(
        name,
        f"optimi.{plain}",
        spec,
        keywords,
        {"SGD": {"b": "exp_avg"}, "Lion": MOMENTUM}.get(plain, {}),
        f"{OPTIMI_DOCS}/optimizers/{plain.lower()}/",
        variant,
        options={**SINGLE, **options},
        adjust=_below_one if plain == "SGD" else _betas,
    )


def _optimi_group(keywords: Keywords) -> Keywords:
    """Its groups are read by beta1 and beta2; their max_lr is the constructor's lr if not told."""
    betas = zip(("beta1", "beta2"), keywords.get("betas", ()), strict=False)
    return {**dict(betas), "max_lr": keywords["lr"]}


EMA_FIRST = {"momentum": "ema"}
EMA = {**EMA_FIRST, "first_buffer": "dampened"}
RELATIVE = {"decay": "decoupled-relative-lr"}

OPTIMI = Shelf(
    "torch-optimi",
    "optimi",
    (
        *_both(_optimi("SGD", "sgd", {}, {})),
        _optimi("SGD[dampening]", "sgd", EMA, {"dampening": True}),
        _optimi("SGD[torch-init]", "sgd", EMA_FIRST, {"dampening": True, "torch_init": True}),
        _optimi("SGD[decouple-wd]", "sgd", DECOUPLED, {"decouple_wd": True}),
        _optimi("SGD[decouple-lr]", "sgd", RELATIVE, {"decouple_lr": True}),
        *_both(_optimi("Adam", "adam", {}, {})),
        _optimi("Adam[decouple-wd]", "adam", DECOUPLED, {"decouple_wd": True}),
        *_both(_optimi("AdamW", "adamw", {}, {})),
        _optimi("AdamW[decouple-lr]", "adamw", RELATIVE, {"decouple_lr": True}),
        _optimi("AdamW[no-kahan]", "adamw", {}, {"kahan_sum": False}),
        *_both(_optimi("Lion", "lion", {}, {})),
        _optimi("Lion[decouple-lr]", "lion", RELATIVE, {"decouple_lr": True}),
    ),
    {"regroup": _optimi_group, "settled": ("max_lr",)},
    "optimizer",
)

# ---- bitsandbytes ----------------------------------------------------------------------------

BNB = "https://huggingface.co/docs/bitsandbytes/main/en/reference/optim"


def _bnb(name: str, spec: str, keywords: Any, state: Any, page: str, **more: Any) -> Entry:
    make = f"bitsandbytes.optim.{name}"
    return Entry(name, make, spec, keywords, state, f"{BNB}/{page}", **more)


def _momentum(keywords: Keywords) -> Keywords:
    if not 0 < keywords["momentum"] < 1 or keywords["dampening"] >= 1:
        raise Unsupported("it refuses momentum = 0, and 1 in momentum or dampening")
    return keywords


def _alpha(keywords: Keywords) -> Keywords:
    if keywords["alpha"] == 0 or keywords["momentum"] >= 1:
        raise Unsupported("it refuses alpha = 0 and momentum = 1")
    return keywords


def _bnb_group(keywords: Keywords) -> Keywords:
    """Its groups are read by betas, whatever the constructor calls them."""
    if "alpha" in keywords:
        return {"betas": (keywords["alpha"], keywords["momentum"])}
    if "momentum" in keywords:
        return {"betas": (keywords["momentum"], keywords["dampening"])}
    return {}


STATE1 = {"m": "state1", "v": "state2"}

BITSANDBYTES = Shelf(
    "bitsandbytes",
    "bitsandbytes.optim",
    (
        _bnb(
            "SGD",
            "sgd",
            _same("lr", "momentum", "dampening", "weight_decay", "nesterov"),
            {"b": "state1"},
            "sgd",
            adjust=_momentum,
        ),
        _bnb("Adagrad", "adagrad", _same("lr", "eps", "weight_decay"), {"s": "state1"}, "adagrad"),
        _bnb(
            "RMSprop",
            "rmsprop",
            _same("lr", "alpha", "eps", "weight_decay", "momentum"),
            {"v": "state1"},
            "rmsprop",
            adjust=_alpha,
        ),
        # of Adam's decay the page says nothing; it is that of AdamW
        _bnb(
            "Adam",
            "adam",
            {**ADAM, "amsgrad": "amsgrad"},
            STATE1,
            "adam",
            variant={"decay": "decoupled"},
            silent=("decay",),
            adjust=_betas,
        ),
        _bnb("AdamW", "adamw", {**ADAM, "amsgrad": "amsgrad"}, STATE1, "adamw", adjust=_betas),
        _bnb("Lion", "lion", LION, {"m": "state1"}, "lion", adjust=_betas),
    ),
    {"regroup": _bnb_group},
)

# ---- heavyball -------------------------------------------------------------------------------

HEAVYBALL_DOCS = "https://github.com/HomebrewML/HeavyBall"


def _second_beta(keywords: Keywords) -> Keywords:
    rest = {n: v for n, v in keywords.items() if n != "alpha"}
    return {**rest, "betas": (0.0, keywords["alpha"])}


HEAVYBALL = Shelf(
    "heavyball",
    "heavyball",
    (
        # nowhere is said where eps stands, nor how SGD and RMSprop decay
        Entry(
            "SGD",
            "heavyball.SGD",
            "sgd",
            {**_same("lr", "weight_decay"), "momentum": "beta"},
            {},
            HEAVYBALL_DOCS,
            {"decay": "decoupled"},
            ("decay",),
        ),
        Entry(
            "RMSprop",
            "heavyball.RMSprop",
            "rmsprop",
            _same("lr", "alpha", "eps", "weight_decay"),
            {},
            HEAVYBALL_DOCS,
            {"bias_correction": "second-only", "eps": "clamp", "decay": "decoupled"},
            ("eps", "decay"),
            adjust=_second_beta,
        ),
        Entry(
            "AdamW",
            "heavyball.AdamW",
            "adamw",
            ADAM,
            {},
            HEAVYBALL_DOCS,
            {"eps": "clamp"},
            ("eps",),
            adjust=_betas,
        ),
    ),
    {
        "preamble": ("import heavyball", "heavyball.utils.compile_mode = None"),
    },
    "optimizer",
    Heavyball,
)

SHELVES: Mapping[str, Shelf] = {
    shelf.where.partition(".")[0]: shelf
    for shelf in (PYTORCH_OPTIMIZER, TORCH_OPTIMIZER, OPTIMI, BITSANDBYTES, HEAVYBALL)
}


def library(name: str) -> list[Implementation]:
    """What this release has of the table."""
    shelf = SHELVES[name]
    return [
        shelf.kind(
            subject=named(entry.make),
            name=f"{shelf.where}:{entry.name}",
            module=shelf.where,
            spec=entry.spec,
            options=entry.options,
            variant=entry.variant,
            entry=entry,
            distribution=shelf.distribution,
            clock="parameter" if entry.spec == "sgd" else shelf.clock,
            **shelf.more,
        )
        for entry in shelf.entries
        if _there(entry)
    ]


def _there(entry: Entry) -> bool:
    try:
        return callable(named(entry.make))
    except AttributeError:
        return False
