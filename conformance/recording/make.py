"""Making recordings: ask who there is, give everybody the same scenarios, keep what they do."""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RequestError
from ..naming import told_apart
from ..scenario import Scenario, to_json
from ..spec_file import load
from .corpus import VERSION, corpus
from .host import Ended, Interpreter, Message, Team
from .tape import Writer, packed

START = 300.0  # seconds until an environment has imported a framework and said who there is

ANY = "any"
"""The spec of those that no spec describes."""


@dataclass
class Side:
    """An environment, who is in it, and where the recording goes."""

    interpreter: Interpreter
    folder: Path
    header: Mapping[str, Any] = field(default_factory=dict)
    listed: list[Message] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def team(self) -> Team:
        return Team(self.interpreter)


def ask_who(side: Side, targets: Sequence[str], spec: str | None) -> None:
    """Fill in who is there.  Raises RequestError where that cannot be told."""
    answers = []
    for target in dict.fromkeys(targets):
        request = {"do": "list", "target": target, "spec": spec}
        # files of two folders may import modules of one name
        alone = target if ".py:" in target else ""
        try:
            answer = side.team.ask(alone, request, START)
        except Ended as e:
            raise RequestError(f"{target}: the recording worker {e}") from None
        side.environment = answer["environment"]
        some = [{**i, "world": alone or i["world"]} for i in answer["implementations"]]
        answers.append((target, some))
    for target, some in told_apart(answers):
        side.listed += [{**found, "target": target, "option": spec} for found in some]


def spec_path(name: str) -> str:
    """What to load for the spec of a recording."""
    return str(Path(__file__).parent / "any.toml") if name == ANY else name


def scenarios_for(same: Sequence[Message], dtype: str) -> list[Scenario]:
    """The corpus for an implementation as it is in one or several environments."""
    spec = load(spec_path(_spec(same[0])))
    base: dict[str, Any] = {}
    only: set[str] | None = None
    if spec.name == ANY:
        for found in reversed(same):
            base |= found["own"]
        only = set.intersection(*(set(found["own"]) for found in same))
    names = {n for found in same for n in found["fixed"]}
    given = {n: v for found in reversed(same) for n, v in found["fixed"].items()}
    return corpus(
        spec,
        dtype,
        base=base,
        fixed={n: base.get(n, given[n]) for n in names},
        changeable=[n for n in same[0]["changeable"] if all(n in s["changeable"] for s in same)],
        lacks=sorted({x for found in same for x in found["lacks"]}),
        only=only,
    )


def _spec(found: Message) -> str:
    name = str(found["spec"])
    return ANY if Path(name).name == "any.toml" else name


def record(
    sides: Sequence[Side],
    dtypes: Sequence[str],
    timeout: float,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Record every implementation of every side, all sides in the same scenarios."""
    names = dict.fromkeys(i["implementation"] for side in sides for i in side.listed)
    tables = [{i["implementation"]: i for i in side.listed} for side in sides]
    cells = []
    for name in names:
        same = [t[name] for t in tables if name in t]
        one_spec = len({_spec(f) for f in same}) == 1
        wanted = [d for d in dtypes if d == "float32"] or list(dtypes[:1])
        for dtype in dtypes if _spec(same[0]) != ANY else wanted:
            cells.append((name, dtype, scenarios_for(same if one_spec else same[:1], dtype)))
    for side, table in zip(sides, tables, strict=True):
        writer = Writer(
            side.folder, {**side.header, "environment": side.environment, "corpus": VERSION}
        )
        described: set[str] = set()
        for k, (name, dtype, scenarios) in enumerate(cells):
            if name in table:
                found = table[name]
                fresh = name not in described
                described.add(name)
                progress(f"[{k + 1}/{len(cells)}] {name} {dtype}")
                _record(side.team, found, dtype, scenarios, writer, timeout, describe=fresh)
        writer.close()


def _record(
    team: Team,
    found: Message,
    dtype: str,
    scenarios: Sequence[Scenario],
    writer: Writer,
    timeout: float,
    *,
    describe: bool,
) -> None:
    said = [to_json(s) for s in scenarios]
    with tempfile.TemporaryDirectory(prefix="optconform-") as scratch:
        out = Path(scratch) / "tensors"

        def ask(some: Sequence[Any], what: bool) -> Message:
            request = {
                "do": "record", "target": found["target"], "spec": found["option"],
                "which": found["which"], "scenarios": some, "describe": what, "out": str(out),
            }  # fmt: skip
            return team.ask(found["world"], request, timeout)

        about: Message = {}
        try:
            answer = ask(said, describe)
            runs, about, tensors = answer["runs"], answer["about"], out.read_bytes()
        except RequestError as e:
            runs = [{"status": f"unsupported: {e}", "names": []} for _ in said]
            tensors = packed({})
        except Ended:
            runs, tensors = _one_by_one(ask, said, out)
    kept = ("implementation", "library", "version", "variant", "fixed", "changeable", "clock")
    writer.add(
        {
            **{n: found[n] for n in kept},
            "spec": _spec(found),
            "dtype": dtype,
            **about,
        },
        [{"scenario": s, **run} for s, run in zip(said, runs, strict=True)],
        tensors,
    )


def _one_by_one(
    ask: Callable[[Sequence[Any], bool], Message], said: Sequence[Any], out: Path
) -> tuple[list[Message], bytes]:
    """Every scenario in a process that may end: which of them it was is then known."""
    from safetensors.numpy import load as tensors_of

    runs, tensors = [], {}
    for k, scenario in enumerate(said):
        try:
            runs += ask([scenario], False)["runs"]
        except Ended as e:
            runs.append({"status": f"the subject {e}", "names": []})
            continue
        found = tensors_of(out.read_bytes())
        tensors.update({f"{k}/{n.removeprefix('0/')}": x.astype(float) for n, x in found.items()})
    return runs, packed(tensors)
