"""The command ``identify``: which variant and which precision an implementation follows."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from .errors import RequestError
from .findings import profile_in_words
from .identify import UNEXPLAINED
from .options import claimable, drawing, output_files, parse_hyper, renamed
from .oracle.scalars import Profile
from .printing import say, to_whom_it_concerns
from .record import dumps, write
from .serve import Message
from .spec_file import load
from .worker import START_TIMEOUT, Lost, ask, list_target

FEW = 6  # labels that are printed


@click.command()
@click.argument("target")
@click.option("--spec", "spec_option", help="The family: a spec's name or a .toml file.")
@drawing
@click.option("--json", "json_path", help="Write the answer to this file.")
def identify(
    target: str,
    spec_option: str | None,
    hypers: tuple[str, ...],
    examples: int,
    steps: int,
    seed: int,
    timeout: float,
    json_path: str | None,
) -> int:
    """Say which variant and precision profile TARGET follows.

    Paths that are compiled for minutes are left out unless TARGET names them.  Exit status 1 when
    one follows no variant.
    """
    (output,) = output_files(json_path, reads=(target, spec_option))
    fixed = parse_hyper(hypers)
    settings = {"examples": examples, "steps": steps, "seed": seed}
    requests = []
    for found in _paths(target, spec_option):
        spec = load(found["spec"])
        here = renamed(fixed, spec, found["keywords"])
        claimable(spec, {}, here, found)
        requests.append({
            "do": "identify", "target": target, "spec_option": spec_option,
            "implementation": found["implementation"], "spec": found["spec"],
            "claimed": found["variant"], "settings": {**settings, "hyper": here},
        })  # fmt: skip
    answers = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for answer in pool.map(lambda r: _answer(r, timeout), requests):
            answers.append(answer)
            with to_whom_it_concerns():
                say(in_words(answer))
    if output is not None:
        rest = {"implementations": answers} if len(answers) > 1 else {}
        write(output, dumps({**answers[0], **rest}))
    return 0 if all(a["variant"] is not None for a in answers) else 1


def _paths(target: str, spec: str | None) -> list[Message]:
    """The paths to identify; those that are slow to start only if they are named."""
    found = list_target(target, spec)
    if target.endswith("]"):
        return found
    kept = [i for i in found if not i["slow"]]
    slow = ", ".join(i["implementation"] for i in found if i["slow"])
    if not kept:
        raise RequestError(
            f"{target} has only paths that are compiled for minutes; name one: {slow}"
        )
    if slow:
        say(f"left out, compiled for minutes: {slow}", err=True)
    return kept


def _answer(request: Message, timeout: float) -> Message:
    """What a process of its own says; where it does not live to, that is the explanation."""
    try:
        answer: Message = ask(request, START_TIMEOUT, scenario=timeout)["answer"]
    except Lost as e:
        return {
            "implementation": request["implementation"],
            **UNEXPLAINED.as_dict(),
            "only_here": [],
            "spec": load(request["spec"]).name,
            "claimed": request["claimed"],
            "remaining": [],
            "explanation": str(e),
        }
    return answer


def in_words(answer: Mapping[str, Any]) -> str:
    """An answer of the investigation, a line each: what it follows, why, and what is left open."""
    variant = answer["variant"]
    said = "follows no variant" if variant is None else f"follows {_label(variant)}"
    if variant is None and not answer["rejected"]:
        said = "not identified"
    profile = Profile(**answer["profile"])
    if profile != Profile():
        said += f", and {profile_in_words(profile)}"
    if variant is not None and variant != answer["claimed"]:
        said += f" (declared: {_label(answer['claimed'])})"
    lines = [f"{answer['implementation']}: {answer['spec']}: {said}", f"  {answer['explanation']}"]
    here = answer["only_here"]
    if always := [v for v in answer["aliases"] if v not in here]:
        lines.append(f"  the same formula as: {_labels(always)}")
    if here:
        lines.append(f"  under the settings that it takes also: {_labels(here)}")
    for other in answer["remaining"]:
        lines.append(f"  also possible: {_label(other['variant'])}")
        if same := [c for c in other.get("same", ()) if c]:
            lines.append(f"    the same formula with {' or '.join(same)}")
        if told := other.get("input"):
            hyper = ", ".join(f"{n} = {v}" for n, v in told["hyper"].items())
            takes = "" if told["takes"] else "; this implementation does not take it"
            lines.append(
                f"    told apart by p = {told['start']}, gradients {told['gradients']}, "
                f"lr {told['lr']}, with {hyper}{takes}"
            )
    return "\n".join(lines)


def _label(variant: Mapping[str, str]) -> str:
    return ", ".join(f"{a} = {v}" for a, v in variant.items()) or "the spec's own equations"


def _labels(variants: Sequence[Mapping[str, str]]) -> str:
    """The first few of them; JSON has all."""
    more = f"; and {len(variants) - FEW} more" if len(variants) > FEW else ""
    return "; ".join(map(_label, variants[:FEW])) + more
