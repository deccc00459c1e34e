"""How often identification names what an optimizer really does.

    python tests/power/dialects.py reports/published/dialects    # writes dialects.json, dialects.md

Every optimizer of tests/subjects/dialects.py deviates in up to four axes at once, drawn from its
number; most of them hide their state.  ``optconform identify`` must name exactly these axes, or
names that are the same formula under any settings that the optimizer takes.

Exit status: 0 when every one is named, 1 when one is not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "subjects" / "dialects.py"
KINDS = {
    "": "visible",
    "Hidden": "hidden",
    "HiddenSingle": "hidden, options in float32",
    "HiddenFew": "hidden, few options",
}
FAMILIES = ("SGD", "Adagrad", "RMSprop", "Adadelta", "Adam")
ANSWERS = ("named", "another name", "one of several", "wrong", "nothing")
EXAMPLES = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One optimizer: what it does, what it is said to do, and in which words."""

    name: str
    truth: dict[str, str]
    variant: dict[str, str] | None
    answer: str  # one of ANSWERS
    words: str
    seconds: float


def split(name: str) -> tuple[str, str]:
    """The kind and the family of a dialect."""
    family = next(f for f in FAMILIES if name.rstrip("0123456789").endswith(f))
    return name.rstrip("0123456789").removesuffix(family), family


def row(name: str, *, examples: int = EXAMPLES) -> Row:
    """One optimizer of the file, identified."""
    import torch

    from optconform.examine import Settings
    from optconform.implementation import resolve
    from optconform.investigate import investigate
    from optconform.spec_file import load

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    spec = load(split(name)[1].lower())
    (subject,) = resolve(f"{FILE}:{name}", spec.name)
    truth = spec.variant(subject.constructor.deviates)
    begin = time.perf_counter()
    found = investigate(subject, spec, Settings(examples=examples), lambda _: None)
    seconds = time.perf_counter() - begin
    if found["variant"] is None:
        answer = "nothing"
    elif truth not in found["accepted"]:
        answer = "wrong"
    elif not found["unique"]:
        answer = "one of several"
    else:
        answer = "named" if truth == found["variant"] else "another name"
    return Row(name, truth, found["variant"], answer, found["explanation"], round(seconds, 1))


def markdown(rows: list[Row]) -> str:
    lines = [
        "# What identification says of optimizers with several deviations at once",
        "",
        "`python tests/power/dialects.py`: a dialect deviates in one to four axes, drawn from its"
        " number.  *Named*: exactly these axes; *another name*: axes that are the same formula"
        " under the options that it takes.",
        "",
        f"| family | kind | dialects | {' | '.join(ANSWERS)} | median s | max s |",
        f"|---|---|--:|{'--:|' * len(ANSWERS)}--:|--:|",
    ]
    for kind, words in KINDS.items():
        for family in FAMILIES:
            some = [r for r in rows if split(r.name) == (kind, family)]
            if not some:
                continue
            count = [sum(r.answer == a for r in some) for a in ANSWERS]
            seconds = [r.seconds for r in some]
            cells = [family, words, len(some), *count]
            cells += [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    odd = [r for r in rows if r.answer != "named"]
    if odd:
        lines += ["", "| dialect | it follows | told | in words |", "|---|---|---|---|"]
        lines += [f"| {r.name} | {r.truth} | {r.variant} | {r.words} |" for r in odd]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="without the suffix")
    parser.add_argument("--numbers", type=int, default=20, help="of each family")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    names = [
        f"{kind}{family}{number}"
        for number in range(args.numbers)
        for kind in KINDS
        for family in FAMILIES
    ]
    rows = []
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for done in pool.imap(row, names):
            rows.append(done)
            print(f"{done.answer:14} {done.seconds:5.1f} s  {done.name}: {done.truth}", flush=True)
    Path(f"{args.out}.json").write_text(
        json.dumps({"rows": [asdict(r) for r in rows]}, indent=1) + "\n"
    )
    Path(f"{args.out}.md").write_text(markdown(rows))
    return int(any(r.answer not in ("named", "another name") for r in rows))


if __name__ == "__main__":
    raise SystemExit(main())
