"""The pytest plugin: options, reports, and one judgement for all processes of a run."""

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import RequestError

if TYPE_CHECKING:
    from .cells import Judge
    from .known import Divergence

FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
KNOWN = pytest.StashKey[tuple["Divergence", ...]]()
SEED = pytest.StashKey[tuple[int, bool]]()

OPTIONS = {
    "report": ("F.html", "Write the conformance report to this file."),
    "json": ("F", "Write the conformance record to this file."),
    "known": ("F", "A file of known divergences, for all conformance tests."),
    "examples": ("N", "Scenarios drawn for each implementation and dtype."),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("optconform")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(
            f"--optconform-{name}",
            metavar=metavar,
            help=text,
            type=int if name == "examples" else str,
            default=None,
        )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group(name): items that one process should run")
    examples = config.getoption("optconform_examples")
    if examples is not None and examples < 1:
        raise pytest.UsageError("--optconform-examples must be at least 1")
    for name in ("report", "json"):
        path = config.getoption(f"optconform_{name}")
        if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
            raise pytest.UsageError(f"--optconform-{name}: cannot write {path}")
    if path := config.getoption("optconform_known"):
        from . import known

        try:
            config.stash[KNOWN] = known.read(Path(path))
        except RequestError as e:
            raise pytest.UsageError(f"--optconform-known: {e}") from None
    if _distributing(config):
        config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="optconform-")


def _distributing(config: pytest.Config) -> bool:
    """Whether this process hands its items to the workers of pytest-xdist."""
    return config.pluginmanager.hasplugin("dsession") or bool(
        not hasattr(config, "workerinput") and getattr(config.option, "tx", None)
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """What every worker must know to be part of one run."""
    if FOLDER in node.config.stash:
        node.workerinput["optconform_folder"] = node.config.stash[FOLDER].name
    node.workerinput["optconform_seed"] = _seed(node.config)


def _seed(config: pytest.Config) -> tuple[int, bool]:
    """The seed of tests that name none: that of Hypothesis, 0 if its profile is derandomised; and
    whether it was drawn at random."""
    if SEED not in config.stash:
        from hypothesis import settings

        given = getattr(config, "workerinput", {}).get("optconform_seed")
        asked = config.getoption("hypothesis_seed", None)
        if given is not None:
            seed = int(given[0]), bool(given[1])
        elif asked is not None and str(asked).isdigit():
            seed = int(asked), False
        else:
            once = not settings().derandomize
            seed = random.SystemRandom().randrange(1_000_000) if once else 0, once
        config.stash[SEED] = seed
    return config.stash[SEED]


def _judge(config: pytest.Config) -> "Judge":
    """The judge of this process, made when the first conformance test is collected."""
    from hypothesis import settings

    from .cells import Judge
    from .testing import JUDGE

    if JUDGE not in config.stash:
        shared = getattr(config, "workerinput", {}).get("optconform_folder")
        seed, once = _seed(config)
        config.stash[JUDGE] = Judge(
            examples=config.getoption("optconform_examples"),
            seed=seed,
            once=once,
            known=config.stash.get(KNOWN, ()),
            shared=Path(shared) if shared else None,
            database=settings().database,
        )
    return config.stash[JUDGE]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the judge, bring the items of a cell together, and warn of known divergences that
    concern nothing that was collected."""
    cells, places, met = {}, [], []
    for place, item in enumerate(items):
        case: Any = getattr(getattr(item, "callspec", None), "params", {}).get("case")
        if type(case).__module__ == "optconform.testing":
            met.append(case.cell)
            cells[case.cell.key] = case.cell
            places.append((case.cell.key, place))
    if not cells:
        return
    # pytest-xdist hands out what lies together: so no process waits for another's cell
    turn = {key: k for k, key in enumerate(cells)}
    ours = [items[place] for _, place in sorted(places, key=lambda p: (turn[p[0]], p[1]))]
    for (_, place), item in zip(places, ours, strict=True):
        items[place] = item
    from .known import unmatched

    judge = _judge(config)
    told = [sentence for cell in met if (sentence := judge.taken(cell))]
    if told and not hasattr(config, "workerinput"):  # of a worker's it is the items that fail
        raise pytest.UsageError(f"optconform: {told[0]}")
    if getattr(config, "workerinput", {}).get("workerid", "gw0") != "gw0":
        return
    described = [c.described for c in cells.values()]
    entries = {d.id: d for c in cells.values() for d in c.known} | {d.id: d for d in judge.known}
    for sentence in unmatched(entries.values(), described):
        config.issue_config_time_warning(pytest.PytestWarning(sentence), stacklevel=2)


def _found(config: pytest.Config) -> list[dict[str, Any]]:
    """The cells that were judged, by this process or by its workers."""
    from .testing import JUDGE

    if FOLDER in config.stash:
        files = sorted(Path(config.stash[FOLDER].name).glob("*.json"))
        return [json.loads(p.read_text(encoding="utf-8")) for p in files]
    return list(config.stash[JUDGE].found.values()) if JUDGE in config.stash else []


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.getoption("optconform_report") or config.getoption("optconform_json"):
        return f"optconform: seed {_seed(config)[0]}"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Iterator[None]:
    yield
    wanted = {n: config.getoption(f"optconform_{n}") for n in ("report", "json")}
    if hasattr(config, "workerinput") or not any(wanted.values()):
        return
    found = _found(config)
    if not found:
        terminalreporter.write_line("optconform: no conformance test ran, no report is written")
        return
    from .examine import CHECKS
    from .record import dumps, record, write
    from .reports import render_html

    results = [f["result"] for f in found]
    results.sort(key=lambda r: (r["implementation"], r["spec"]))
    run = {
        "command": " ".join(["pytest", *config.invocation_params.args]),
        "seed": _seed(config)[0],
        "seconds": round(sum(r["seconds"] for r in results), 1),
        "dtypes": list(dict.fromkeys(r["dtype"] for r in results)),
    }
    made = json.loads(dumps(record(results, run, [f["spec"] for f in found], CHECKS)))
    for name, render in (("json", dumps), ("report", render_html)):
        if wanted[name]:
            write(Path(wanted[name]), render(made))
            terminalreporter.write_line(f"optconform: wrote {wanted[name]}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if FOLDER in config.stash:
        config.stash[FOLDER].cleanup()
