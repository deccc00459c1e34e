"""Which algorithm the name of a class announces, read word by word: AdamWithNorms is no AdamW."""

import re

from .spec_file import bundled

OTHERS = {
    "adamc", "adammini", "adamod", "adamp", "adams", "asgd", "nadam", "nadamw", "padam",
    "qhadam", "radam", "radamw", "sgdp", "signsgd", "stableadamw",
}  # fmt: skip
"""Published algorithms of their own whose names hold that of a bundled spec."""

_WORD = re.compile(
    r"(?<=[a-z])W(?![a-z])"  # decoupled weight decay, whatever capitals follow: AdamWBF16
    r"|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+"
)


def announced(name: str) -> tuple[str, bool] | None:
    """The bundled spec that a class is named after, and whether a W after that says that it
    decouples the weight decay, which AdamW says by itself; None where it is named after none.

    Whole words come first, as many as it takes (``AdaGrad``); then any letters (``fusedadam``).
    """
    forms = {f"{s}w": (s, True) for s in bundled()} | {s: (s, False) for s in bundled()}
    longest = sorted(forms, key=len, reverse=True)  # adamw before adam
    runs, letters = _runs(name), name.lower().replace("_", "")
    whole = [f for f in longest if f in runs]
    return next((forms[f] for f in (*whole, *longest) if f in letters), None)


def is_another(name: str) -> bool:
    """Whether a class is named after an algorithm that no bundled spec describes."""
    return not OTHERS.isdisjoint(_runs(name))


def _runs(name: str) -> set[str]:
    """The words of a name, and what those that stand side by side make together."""
    words = [w.lower() for w in _WORD.findall(name)]
    ends = range(1, len(words) + 1)
    return {"".join(words[i:j]) for j in ends for i in range(j)}
