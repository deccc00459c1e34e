"""A recording is an implementation: played back, it can be judged like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RequestError
from ..scenario import Group, Scenario, from_json
from ..spec import Spec, Value
from .tape import Floats, Track

Snapshot = tuple[list[list[Floats]], list[list[Mapping[str, Floats]]]]


@dataclass(frozen=True)
class Played:
    """The runs of a track, each under its scenario; see ``implementation.Implementation``."""

    track: Track
    run: Mapping[str, Any]
    number: int

    @property
    def name(self) -> str:
        return str(self.track.about["implementation"])

    @property
    def library(self) -> str:
        return str(self.track.about["library"])

    @property
    def version(self) -> str:
        return str(self.track.about["version"])

    @property
    def spec(self) -> str:
        return str(self.track.about["spec"])

    @property
    def variant(self) -> Mapping[str, str]:
        variant: Mapping[str, str] = self.track.about["variant"]
        return variant

    @property
    def clock(self) -> str:
        return str(self.track.about["clock"])

    slow = False

    def fixed(self, spec: Spec) -> dict[str, Value]:
        return dict(self.track.about["fixed"])

    def changeable(self, spec: Spec) -> Sequence[str]:
        return list(self.track.about["changeable"])

    def start(self, scenario: Scenario, spec: Spec) -> "Session":
        return Session(snapshots(self, scenario))

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        return f"# {self.name} {self.version} was recorded\n"


class Session:
    """Shows one snapshot after the other, whatever it is told to do."""

    def __init__(self, shown: Sequence[Snapshot]) -> None:
        self.shown, self.at = shown, 0

    def _next(self) -> None:
        self.at += 1
        if self.at >= len(self.shown):
            raise EOFError("the recording ends here")

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        self._next()

    def parameters(self) -> list[list[Floats]]:
        return self.shown[self.at][0]

    def state(self) -> list[list[Mapping[str, Floats]]]:
        return self.shown[self.at][1]

    def gradients(self) -> list[list[Floats | None]] | None:
        return None

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        """Nothing can be seen of it yet."""

    def add_group(self, group: Group) -> None:
        self._next()

    def reload(self) -> None:
        self._next()


def runs(track: Track) -> list[tuple[Scenario, Played]]:
    """Every run of a track.  Raises RequestError where the tensors do not fit the scenario."""
    found = []
    for number, run in enumerate(track.runs):
        played = Played(track, run, number)
        scenario = from_json(run["scenario"])
        snapshots(played, scenario)
        found.append((scenario, played))
    return found


def snapshots(played: Played, scenario: Scenario) -> list[Snapshot]:
    """What the recording shows, cut into groups and parameters."""
    tensors = played.track.tensors
    prefix = f"{played.number}/"
    left = {n.removeprefix(prefix): 0 for n in tensors if n.startswith(prefix)}

    def take(name: str, size: int) -> Floats:
        if name not in left:
            raise RequestError(f"the recording of {played.name} lacks {name}")
        start = left[name]
        left[name] = start + size
        x = tensors[prefix + name].reshape(-1)[start : start + size]
        if x.size != size:
            raise RequestError(f"the recording of {played.name} does not fit its scenario")
        return x.astype(np.float64)

    sizes = [[p.size for p in g.params] for g in scenario.all_groups]
    out: list[Snapshot] = []
    for names in played.run["names"]:
        params: list[list[Floats]] = []
        states: list[list[Mapping[str, Floats]]] = []
        rest = list(names)
        for group in sizes:
            if not rest:
                break
            params.append([])
            states.append([])
            for size in group:
                if not rest:
                    raise RequestError(f"the recording of {played.name} does not fit its scenario")
                held = rest.pop(0)
                params[-1].append(take("param", size))
                states[-1].append({str(n): take(f"state {n}", size) for n in held})
        out.append((params, states))
    return out


def arrays(track: Track, number: int) -> dict[str, Floats]:
    """The tensors of a run, by name."""
    prefix = f"{number}/"
    return {
        n.removeprefix(prefix): x.astype(np.float64)
        for n, x in track.tensors.items()
        if n.startswith(prefix)
    }
