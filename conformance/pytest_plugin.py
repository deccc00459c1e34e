"""The pytest plugin: options, reports, and one judgement for all processes of a run."""

import contextlib
import json
import random
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import RequestError

if TYPE_CHECKING:
    from .cells import Cell, Judge
    from .known import Divergence

FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
KNOWN = pytest.StashKey[tuple["Divergence", ...]]()
SEED = pytest.StashKey[tuple[int, bool]]()
OUTPUTS = pytest.StashKey[dict[str, Path]]()
CELLS = pytest.StashKey[list["Cell"]]()

REFUSED = "refused"  # in the folder of a run, why a worker wants no report written

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
    known_path = config.getoption("optconform_known")
    if known_path:
        from . import known

        known_path = str(_found_file(config, known_path))
        try:
            config.stash[KNOWN] = known.read(Path(known_path))
        except (RequestError, OSError) as e:
            raise pytest.UsageError(f"--optconform-known: {e}") from None
    if not hasattr(config, "workerinput"):  # a worker writes nothing of its own
        config.stash[OUTPUTS] = _outputs(config, known_path)
    if _distributing(config):
        config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="optconform-")


def _found_file(config: pytest.Config, path: str) -> Path:
    """A file that an option names: in ``addopts`` it is relative to the configuration, and pytest
    may be called in any folder below."""
    there = config.rootpath / path
    with contextlib.suppress(OSError):  # a name too long for a file
        if not Path(path).exists() and there.exists():
            return there
    return Path(path)


def _outputs(config: pytest.Config, known_path: str | None) -> dict[str, Path]:
    """The files to be written at the end.  That they can be is tried now, as on the command line:
    a name that is no good must not cost the run."""
    asked = _asked(config)
    if all(path is None for path in asked.values()):
        return {}
    from .options import output_files

    try:
        found = output_files(*asked.values(), reads=[known_path])
    except RequestError as e:
        raise pytest.UsageError(f"optconform: {e}") from None
    except OSError as e:  # a name that the system cannot even look for
        raise pytest.UsageError(f"optconform: cannot write {e.filename}: {e.strerror}") from None
    return {name: path for name, path in zip(asked, found, strict=True) if path is not None}


def _asked(config: pytest.Config) -> dict[str, str | None]:
    return {n: config.getoption(f"optconform_{n}") for n in ("report", "json")}


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
    node.workerinput["optconform_selected"] = _selected(node.config)


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
            outputs=[p for p in _asked(config).values() if p is not None],
        )
    return config.stash[JUDGE]


def _case(item: pytest.Item) -> Any:
    """What a conformance test is about; None for every other item."""
    case = getattr(getattr(item, "callspec", None), "params", {}).get("case")
    return case if type(case).__module__ == "optconform.testing" else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Remember every cell that is there, before -k, -m or a plugin takes its items away."""
    if case := _case(item):
        item.config.stash.setdefault(CELLS, []).append(case.cell)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the judge, bring the items of a cell together, and warn of known divergences that
    concern nothing that was collected."""
    cells, places = {}, []
    for place, item in enumerate(items):
        if case := _case(item):
            cells[case.cell.key] = case.cell
            places.append((case.cell.key, place))
    if not cells:
        return
    # pytest-xdist hands out what lies together: so no process waits for another's cell
    turn = {key: k for k, key in enumerate(cells)}
    ours = [items[place] for _, place in sorted(places, key=lambda p: (turn[p[0]], p[1]))]
    for (_, place), item in zip(places, ours, strict=True):
        items[place] = item
    met = config.stash.get(CELLS, [])
    judge = _judge(config)
    over = [sentence for cell in met if (sentence := judge.overwritten(cell))]
    told = over + [sentence for cell in met if (sentence := judge.taken(cell))]
    if told and not hasattr(config, "workerinput"):  # of a worker's it is the items that fail
        raise pytest.UsageError(f"optconform: {told[0]}")
    if over and judge.shared is not None:
        (judge.shared / REFUSED).write_text(over[0], encoding="utf-8")
    if getattr(config, "workerinput", {}).get("workerid", "gw0") != "gw0" or _selected(config):
        return
    every = {c.key: c for c in met}.values()
    entries = {d.id: d for c in every for d in c.known} | {d.id: d for d in judge.known}
    _warn_of_unmatched(config, entries.values(), every)


def _selected(config: pytest.Config) -> bool:
    """Whether only some of the items that are there were collected: then it cannot be told what an
    entry about none of them is about.  A worker is told, for it sees other arguments."""
    given = getattr(config, "workerinput", {}).get("optconform_selected")
    if given is not None:
        return bool(given)
    named = config.args_source == pytest.Config.ArgsSource.ARGS and any(
        not (config.invocation_params.dir / argument).is_dir() for argument in config.args
    )
    return named or bool(config.getoption("lf", False))


def _warn_of_unmatched(
    config: pytest.Config, entries: Iterable["Divergence"], cells: Iterable["Cell"]
) -> None:
    from .known import unmatched

    for sentence in unmatched(entries, [c.described for c in cells]):
        warning = pytest.PytestWarning(sentence)
        try:
            config.issue_config_time_warning(warning, stacklevel=2)
        except pytest.PytestWarning:  # -W error: raised here, it would end the whole run
            _tell_all_the_same(config, warning)


def _tell_all_the_same(config: pytest.Config, warning: pytest.PytestWarning) -> None:
    """Hand a warning that filters make an error to those who tell the warnings of a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(warning, stacklevel=1)
    for message in caught:
        config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": message, "when": "config", "nodeid": "",
                "location": (message.filename, message.lineno, "_tell_all_the_same"),
            }
        )  # fmt: skip


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
    wanted = config.stash.get(OUTPUTS, {})
    if not wanted:
        return
    if FOLDER in config.stash and (refused := Path(config.stash[FOLDER].name) / REFUSED).exists():
        said = refused.read_text(encoding="utf-8")
        terminalreporter.write_line(f"optconform: {said}; no report is written")
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
        if name in wanted:
            write(wanted[name], render(made))
            terminalreporter.write_line(f"optconform: wrote {wanted[name]}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if FOLDER in config.stash:
        config.stash[FOLDER].cleanup()
