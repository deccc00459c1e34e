"""The renderers show all of a record, and nothing of it as markup."""

from __future__ import annotations

import copy
import html
import json
import random
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from records import SAMPLE, Record, cells, poisoned, synthesised, told

from optconform.printing import visible
from optconform.reports import render_badge, render_html, render_markdown
from optconform.reports.baseline import changes
from optconform.reports.baseline import told as told_of
from optconform.reports.equations import DEEPEST, Spec, identifier, parsed, rules
from optconform.reports.ratios import plot
from optconform.reports.view import (
    VERDICTS,
    exact,
    headline,
    number_of,
    ratio,
    share,
    short,
)
from optconform.reports.view import notes as view_notes

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """A page parsed strictly: every element closed in order, tags and text kept."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open
        self.text = "".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def data(source: str) -> dict[str, Any]:
    held = re.search(r'<script type="application/json" id="data">([^<]*)</script>', source)
    assert held
    found: dict[str, Any] = json.loads(held[1])
    return found


def whole(source: str) -> str:
    """The page as it is with every cell open."""
    return source.replace('<div id="cell-body">', '<div id="cell-body">' + "".join(cells(source)))


@pytest.fixture
def record() -> Record:
    loaded: Record = json.loads(SAMPLE.read_text("utf-8"))
    return loaded


def minimal(**more: Any) -> Record:
    result = {"implementation": "a:B", "spec": "adam", "dtype": "float32", "verdict": "conforms"}
    return {"schema": "optconform/report/1", "results": [{**result, **more}]}


def findings(record: Record) -> list[dict[str, Any]]:
    return [finding for result in record["results"] for finding in result["findings"]]


def test_sample_covers_every_verdict_and_kind(record: Record) -> None:
    assert {result["verdict"] for result in record["results"]} == set(VERDICTS)
    kinds = {finding["kind"] for finding in findings(record)}
    assert kinds == {"numeric", "contract", "refusal", "signature", "crash"}


def test_page_shows_every_result_and_finding(record: Record) -> None:
    source = render_html(record)
    overview, opened = Page(source), [Page(cell) for cell in cells(source)]
    verdicts = [a["class"] for t, a in overview.tags if t == "a" and "data-n" in a]
    assert sorted(verdicts) == sorted(f"cell {r['verdict']}" for r in record["results"])
    assert len(opened) == len(record["results"])
    for result, page in zip(record["results"], opened, strict=True):
        assert result["implementation"] in page.text
        assert result["message"] in page.text
        for finding in result["findings"]:
            assert finding["summary"] in page.text
            assert visible(finding.get("repro", "")) in page.text
            if "observed" in finding:
                assert exact(finding["observed"]) in page.text
    assert headline(record["results"]) in overview.text


def test_page_marks_the_faulty_equation_and_explains_the_variant(record: Record) -> None:
    opened = "".join(cells(render_html(record)))
    assert '<mark><span class="plain">v ← β₂·v + (1 − β₂)·g²</span></mark>' in opened
    assert "before the bias correction" in opened
    faulty = [r for r in record["results"] if any("equation" in f for f in r["findings"])]
    assert opened.count('class="faulty"') >= len(faulty) > 0


def test_page_links_to_what_is_documented_if_it_is_a_web_address(record: Record) -> None:
    first, second = record["results"][:2]
    made = {
        **record,
        "results": [
            {**first, "documented": {"link": "https://example.org/adam", "silent": ["decay"]}},
            {**second, "documented": {"link": "javascript:alert(1)", "silent": "<b>"}},
        ],
    }
    source = "".join(cells(render_html(made)))
    assert '<a href="https://example.org/adam"' in source
    assert "which does not say: decay" in source
    assert 'href="javascript' not in source and "javascript:alert(1)" in source


def test_page_lets_nothing_of_the_record_become_markup(record: Record) -> None:
    source = whole(render_html(record))
    page = Page(source)
    assert "<script>alert" not in source and "<img" not in source and "<b>bold" not in source
    assert sum(tag == "script" for tag, _ in page.tags) == 3  # the data, the cells, the script
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "javascript:alert(1)" in page.text
    assert "{{ 7*7 }}" in page.text and "49}}" not in page.text
    assert "\u202e" not in source and "\\u202eabc" in page.text


def test_every_string_of_a_record_is_escaped(record: Record) -> None:
    record["specs"]["adam"] |= told("adam")
    for n, form in enumerate(["<i>", "m_hat + <i>", "ema(<i>)", "'<i>'", "f'{<i>}'"]):
        forms = {"<i>": form, "p": "p - lr * grad"}
        record["specs"][f"hostile{n}"] = {
            "programs": [{"variant": {"<i>": "<i>"}, "forms": forms}],
            "symbols": {"p": "<i>_<i>", "lr": "<i>₁", "grad": "</math><i>"},
        }
    nasty = poisoned(record, "\"'></script></pre><i>&amp;{{ 1 }}\ud800\x00")
    source = whole(render_html(nasty, before=nasty))
    source.encode()
    assert "<i>" not in source and "\x00" not in source
    assert "i" not in {tag for tag, _ in Page(source).tags}
    assert "<i>" not in render_markdown(nasty, before=nasty)


def test_megabyte_strings_leave_the_page_small(record: Record) -> None:
    long = poisoned(record, " 1234567" * 125_000)
    source = render_html(long)
    assert len(source.encode()) < 3_000_000
    assert "characters; the record has them all" in Page(whole(source)).text


def test_page_needs_no_other_file(record: Record) -> None:
    source = whole(render_html(record))
    page = Page(source)
    assert not page.values("src") and "link" not in {tag for tag, _ in page.tags}
    assert "url(" not in source and "@import" not in source and "fetch(" not in source
    for tag, attrs in page.tags:
        if "href" in attrs:
            assert tag == "a"
            assert re.match(r"#\w|https?://", attrs["href"] or "")


def test_links_and_names_within_the_page_resolve(record: Record) -> None:
    source = render_html(record)
    page = Page(source)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    inner = [href[1:] for href in page.values("href") if href.startswith("#")]
    assert {name for name in inner if not name.startswith("cell=")} <= set(ids)
    assert sum(name.startswith("cell=") for name in inner) == len(record["results"])
    for cell in cells(source):
        inside = Page(cell).values("id")
        assert len(inside) == len(set(inside)) and not set(inside) & set(ids)


def test_all_libraries_stay_under_three_megabytes() -> None:
    source = render_html(synthesised())
    assert len(cells(source)) == 1200
    assert len(source.encode()) < 3_000_000
    assert "left out to keep this page small" not in whole(source)


def test_what_does_not_fit_is_left_out_and_said(record: Record) -> None:
    loud = next(r for r in record["results"] if r["verdict"] == "diverges")
    noise = random.Random(0)
    record["results"] = [
        {
            **loud,
            "implementation": f"lib:Adam{n}",
            "findings": [
                {**loud["findings"][0], "repro": noise.randbytes(9000).hex()} for _ in range(5)
            ],
        }
        for n in range(60)
    ]
    source = render_html(record)
    assert len(source.encode()) < 3_000_000
    for cell in cells(source):
        assert cell.count("Script that reproduces it") == 1
        assert cell.count("left out to keep this page small") == 4


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is in a record, from the outside in."""
    inner = value.items() if isinstance(value, dict) else []
    inner = enumerate(value[:4]) if isinstance(value, list) else inner
    return [here, *(p for k, v in inner for p in places(v, (*here, k)))]


def test_what_is_not_as_it_should_be_is_shown_or_refused(record: Record) -> None:
    record["specs"] = {"adam": told("adam")}
    record["specs"]["adam"]["programs"] = record["specs"]["adam"]["programs"][:3]
    chance = random.Random(0)
    odd = [None, 3, -1, 2**70, True, "", "x", "nan", "inf", [], [None], {}, {"a": 1}, [[1]]]
    refusals = 0
    for place in chance.sample(places(record)[1:], 40):
        broken = copy.deepcopy(record)
        inner: Any = broken
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = chance.choice(odd)
        try:
            Page(whole(render_html(broken, before=broken)))
            render_markdown(broken, before=broken)
        except ValueError as refusal:
            assert re.match(r"(the record|result \d+) has ", str(refusal))
            refusals += 1
    assert refusals < 5


@pytest.mark.parametrize("verdict", VERDICTS)
def test_only_required_fields_are_required(verdict: str) -> None:
    bare = minimal(verdict=verdict)
    assert verdict in Page(render_html(bare)).text
    assert verdict in render_markdown(bare)
    empty = minimal(
        verdict=verdict, checks=None, findings=[{}, None], variant=None, claimed=None,
        regimes=None, profile=None, message=None, seconds=None,
    )  # fmt: skip
    Page(render_html(empty))
    render_markdown(empty)
    Page(render_html({**bare, "results": [], "specs": {"adam": {}}}))
    assert "no results" in render_markdown({**bare, "results": []})


@pytest.mark.parametrize("render", [render_html, render_markdown])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"schema": "optconform/report/2"}, "schema 'optconform/report/2': expected"),
        ({}, "schema None: expected"),
        ({"schema": "optconform/report/1"}, "no list of results"),
        (minimal(dtype=None), "result 1 has no text in its field 'dtype'"),
        (minimal(verdict="best"), "unknown verdict 'best'"),
    ],
)
def test_a_record_it_cannot_read_is_refused(render: Any, broken: Record, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        render(broken)
    assert "\n" not in str(refusal.value)


def test_markdown_escapes_and_shows_every_finding(record: Record) -> None:
    text = render_markdown(record)
    assert headline(record["results"]) in text
    assert set(re.findall(r"</?\w+", text)) == {"<code", "</code", "<br", "<sub", "</sub"}
    assert "\\[link\\](javascript:alert(1))" in text and "&lt;script&gt;" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    specs = {r["spec"] for r in record["results"]}
    bars = {len(specs) + 2, len(record["run"]["dtypes"]) + 3}  # of the libraries, of the cells
    assert {row.count("|") for row in rows} == bars
    assert len(re.findall(r"^- ", text, re.M)) == len(findings(record))


def test_markdown_names_the_first_twenty_findings() -> None:
    text = render_markdown(minimal(findings=[{"summary": f"finding {n}"} for n in range(1, 1050)]))
    assert "finding 20\n- and 1,029 more\n" in text and "finding 21" not in text


def test_markdown_puts_libraries_against_algorithms() -> None:
    def cell(library: str, spec: str, verdict: str, **more: Any) -> dict[str, Any]:
        return {
            "implementation": f"{library}:X", "library": library, "version": "1", "spec": spec,
            "dtype": "float32", "verdict": verdict, **more,
        }  # fmt: skip

    hat = {"eps": "hat"}
    record = minimal() | {
        "results": [
            cell("one", "sgd", "conforms"),
            cell("one", "adam", "diverges", variant=hat, findings=[{"kind": "contract"}]),
            cell("one", "adam", "conforms", variant=hat),
            cell("one", "adam", "diverges", findings=[{"kind": "contract"}, {"kind": "numeric"}]),
            cell("two", "adam", "variant", variant={"eps": "inside"}),
        ]
    }
    text = render_markdown(record)
    assert "| library | sgd | adam |" in text
    found = "1 ✓<br>1 ✗ contracts only<br>1 ✗ equations<br><code>eps = hat</code>"
    assert f"| one 1 | 1 ✓ | {found} |" in text
    assert "| two 1 |   | 1 ≈<br><code>eps = inside</code> |" in text
    record["results"] = record["results"][:-1]
    assert "| library |" not in render_markdown(record)  # nothing to put beside it


def test_numbers_never_round_onto_a_threshold() -> None:
    assert short(0.99996) == "0.99996" and short(1) == "1" and short(0.8312) == "0.831"
    assert short("nan") == "nan" and number_of("12") is None
    assert exact(0.1) == "0.1" and exact("-inf") == "-inf"
    assert share(0, 10) == "0 %" and share(1, 10**6) == "< 0.1 %"
    assert share(999_999, 10**6) == "> 99.9 %" and share(1, 3) == "33.3 %"
    assert share(1, 0) == share(None, 3) == "—"


def test_ratios_have_three_digits_on_their_side_of_one() -> None:
    told = [ratio(x) for x in (0.9999998723401419, 1.0000001, 1, 0.43217, "inf", "nan", None)]
    assert told == ["< 1", "> 1", "1", "0.432", "∞", "nan", "—"]
    finding = {"kind": "numeric", "ratio": "inf", "bound": 0.0}
    (cell,) = cells(render_html(minimal(findings=[finding], checks={"max_ratio": "inf"})))
    assert '<span title="the bound is 0">∞</span>' in cell
    assert '<span title="the bound is 0, or a number is not finite">∞</span>' in cell
    assert ">inf<" not in cell


def test_equations_become_mathml() -> None:
    spec = Spec(told("adamw"))
    by_name = {e.name: e.math or "" for e in spec.lines({})}
    hat = '<mover accent="true"><mi>v</mi><mo stretchy="false">^</mo></mover>'
    assert f"<msqrt>{hat}</msqrt><mo>+</mo><mi>ε</mi>" in by_name["denom"]
    assert "<mfrac>" in by_name["m_hat"] and "<mtable" in by_name["g"]
    assert "<msub><mi>β</mi><mn>2</mn></msub>" in by_name["v"]
    for lines in (spec.lines(p.variant) for p in spec.programs):
        for line in lines:
            assert line.math
            Page(line.math)
    assert identifier("v_max") == "<msub><mi>v</mi><mi>max</mi></msub>"
    assert identifier("_<b>") == "<mi>_&lt;b&gt;</mi>"


def test_a_variant_differs_where_its_equations_do() -> None:
    spec = Spec(told("adam"))
    (pair,) = spec.differing({}, {"eps": "inside"})
    assert pair[0] and pair[1] and pair[0].name == "denom"
    names = [(a and a.name, b and b.name) for a, b in spec.differing({}, {"decay": "decoupled"})]
    assert names == [("g", "g"), (None, "rate"), ("p", "p")]
    assert spec.differing({}, {"eps": "unheard of"}) == []


def opened(*results: tuple[str, str, dict[str, str] | None]) -> list[str]:
    """The two rules that the page opens with, of (spec, verdict, what is followed)."""
    made = [
        {**minimal()["results"][0], "spec": spec, "verdict": v, "claimed": {}, "variant": follows}
        for spec, v, follows in results
    ]
    specs = {name: told(name) for name in dict.fromkeys(spec for spec, _, _ in results)}
    held = data(render_html({**minimal(), "specs": specs, "results": made}))
    return [held["rules"][k]["label"] for k in held["opening"]]


def test_two_rules_open_with_what_the_record_shows() -> None:
    l2, hat = {"decay": "l2"}, {"eps": "hat"}
    adam, adamw = (("adam", "conforms", {}), ("adamw", "conforms", {}))
    assert opened(("adamw", "variant", l2)) == ["adamw", "adamw[decay = l2]"]
    assert opened(adam, adamw) == ["adam", "adamw"]
    assert opened(adam, adamw, ("adamw", "diverges", l2)) == ["adamw", "adamw[decay = l2]"]
    assert opened(adam, adamw, ("adamw", "variant", l2), ("adam", "variant", hat)) == [
        "adam",
        "adamw",
    ]
    assert opened(adamw) == ["adamw", "adamw[decay = l2]"]
    assert opened(("adam", "diverges", None)) == ["adam", "adam[decay = decoupled]"]


def test_one_rule_alone_is_not_set_beside_itself() -> None:
    """A spec without axes, or with one program in an older record."""
    one = {**told("sgd"), "programs": told("sgd")["programs"][:1]}
    for spec, shown in ((one, False), (told("sgd"), True)):
        page = render_html({**minimal(), "specs": {"sgd": spec}})
        assert ('href="#rules"' in page, 'id="rules-form"' in page) == (shown, shown)


def test_what_a_record_claims_to_be_an_equation_is_never_run() -> None:
    for form in (
        "__import__('os')",
        "p.x",
        "[1]",
        "lambda: 1",
        "p if",
        "(" * 400,
        "-" * 3000 + "p",
    ):
        assert parsed(form) is None
    assert parsed("-" * (DEEPEST - 1) + "p") is not None and parsed("-" * DEEPEST + "p") is None
    hostile = {"programs": [{"variant": {}, "forms": {"p": "__import__('os')"}}, 7, {"forms": 3}]}
    assert rules({"x": Spec(hostile)}, []) == []
    assert [e.math for e in Spec(hostile).lines({})] == [None]
    assert isinstance(Spec(told("sgd")).lines({})[0].math, Markup)


def test_ratios_are_plotted_as_they_are() -> None:
    drawn = plot({"p": {"ratio_by_step": [0.5, 1, 100, "inf"]}, "m": {"ratio_by_step": "x"}})
    assert drawn and drawn.above and [line.tensor for line in drawn.lines] == ["p"]
    heights = [y for _, y in drawn.lines[0].points]
    assert heights[0] > heights[1] == drawn.one > heights[2] > heights[3] == drawn.infinity
    assert drawn.infinity not in [y for _, y in drawn.ticks]  # no number of the axis stands there
    tall = plot({"p": {"ratio_by_step": [1e40, 1]}})
    assert tall and all(abs(y - tall.one) > 15 for _, y in tall.ticks)  # no label on another
    finite = plot({"p": {"ratio_by_step": [0.5, 1, 100]}})
    assert finite and finite.infinity is None
    assert plot({"p": {}}) is None and plot({"p": {"ratio_by_step": ["x", -1]}}) is None


BEFORE_AND_NOW = [
    ("conforms", "conforms", "same"), ("conforms", "diverges", "new"),
    ("error", "conforms", "fixed"),
    ("undecided", "variant", "new"), ("variant", "diverges", "changed"),
    ("diverges", "undecided", "changed"), ("conforms", None, "removed"), (None, "error", "added"),
]  # fmt: skip


def before_and_now() -> tuple[Record, Record]:
    def made(verdicts: list[str | None]) -> Record:
        results = [
            {**minimal()["results"][0], "verdict": v, "implementation": f"lib:C{n}"}
            for n, v in enumerate(verdicts)
            if v is not None
        ]
        return {**minimal(), "results": results}

    return made([b for b, _, _ in BEFORE_AND_NOW]), made([n for _, n, _ in BEFORE_AND_NOW])


def test_two_records_are_compared_cell_by_cell() -> None:
    before, now = before_and_now()
    found = {c.key: c.kind for c in changes(now, before)}
    assert found == {f"adam/lib:C{n}/float32": k for n, (*_, k) in enumerate(BEFORE_AND_NOW)}
    text = render_markdown(now, before=before)
    counts = Counter(kind for *_, kind in BEFORE_AND_NOW)
    assert f"{counts['new']} new, 1 fixed, 2 changed, 1 added, 1 removed, 1 same." in text
    assert "**fixed** · <code>adam/lib:C2/float32</code>: error → conforms" in text


def test_findings_are_compared_without_their_numbers(record: Record) -> None:
    other = copy.deepcopy(record)
    for finding in findings(other):
        finding["summary"] = re.sub(r"[0-9]", "3", finding["summary"])
    assert {c.kind for c in changes(record, other)} == {"same"}
    (cell,) = told_of(minimal(findings=[{"kind": "x", "summary": "step 1, m[2]: -1.5e-07 here"}]))[
        "cells"
    ]
    assert cell["findings"] == ["x: step #, m[#]: # here"]
    findings(other)[0]["summary"] = "something else"
    assert Counter(c.kind for c in changes(record, other))["changed"] == 1


@pytest.mark.parametrize(
    ("verdicts", "message", "colour"),
    [
        (["conforms", "unsupported"], "1 of 1 conform", "brightgreen"),
        (["conforms", "variant"], "1 of 2 conform", "red"),
        (["conforms", "undecided"], "1 of 2 conform", "yellow"),
        (["unsupported"], "nothing judged", "lightgrey"),
    ],
)
def test_the_badge_counts_what_was_judged(verdicts: list[str], message: str, colour: str) -> None:
    results = [minimal(verdict=v)["results"][0] for v in verdicts]
    badge = json.loads(render_badge({**minimal(), "results": results}))
    assert (badge["message"], badge["color"], badge["schemaVersion"]) == (message, colour, 1)


def test_trials_are_shown_as_tables() -> None:
    published = SAMPLE.parent.parent.parent / "reports" / "published"
    names = ("mutants", "detectability", "bugs")
    trials = [json.loads((published / f"{n}.json").read_text("utf-8")) for n in names]
    source = render_html(minimal(), trials=trials)
    page = Page(source)
    count = sum(p["killed"] + p["equivalent"] for p in trials[0]["programs"])
    assert not [p for p in re.findall(r'<p class="note">(.*?)</p>', source) if re.search("[`*]", p)]
    assert "<code>check</code>" in source and "<em>never</em>" in source
    for words in (f"{count:,} mutants", "assert_close", "103 of 105 flagged", "accumulator_init"):
        assert words in page.text
    nasty = {**trials[0], "definition": "`<i>` *<b>x* `a*b` *c"}
    assert "<code>&lt;i&gt;</code> <em>&lt;b&gt;x</em> <code>a*b</code> *c" in render_html(
        minimal(), trials=[nasty]
    )
    with pytest.raises(ValueError, match="cannot show a trial of schema 'x'"):
        render_html(minimal(), trials=[{"schema": "x"}])


SCHEMA = json.loads(
    (resources.files("optconform.reports") / "schema" / "report-1.schema.json").read_text("utf-8")
)


PUBLISHED = ("torch", "libraries")


def test_records_obey_the_published_schema(record: Record) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check = jsonschema.Draft202012Validator(SCHEMA)
    published = SAMPLE.parent.parent.parent / "reports" / "published"
    found = [json.loads((published / f"{n}.json").read_text("utf-8")) for n in PUBLISHED]
    for one in (record, synthesised(), *found):
        check.validate(one)
    for wrong in ({"verdict": "best"}, {"findings": [{"kind": "?"}]}, {"dtype": 3}):
        assert list(check.iter_errors(minimal(**wrong)))
    named = set(SCHEMA["$defs"]["result"]["required"])
    assert named == {"implementation", "spec", "dtype", "verdict"}


def report(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "optconform.cli", "report", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_report_writes_what_check_writes(tmp_path: Path) -> None:
    check = ["check", "reference:SGD", "--dtype", "float32", "--examples", "2", "--jobs", "1"]
    subprocess.run(
        [sys.executable, "-m", "optconform.cli", *check, "--json", "r.json", "--html", "r.html"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    done = report("r.json", "-o", "again.html", "--badge", "b.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.html").read_bytes() == (tmp_path / "again.html").read_bytes()
    made = json.loads((tmp_path / "r.json").read_text("utf-8"))
    pytest.importorskip("jsonschema").Draft202012Validator(SCHEMA).validate(made)
    assert data((tmp_path / "r.html").read_text("utf-8"))["rules"]
    (tensor,) = [t for n, t in made["results"][0]["checks"]["tensors"].items() if n == "param"]
    assert max(tensor["ratio_by_step"]) == tensor["max_ratio"] > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot read r.json: "),
        ('{"schema": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "cannot render a record of schema None"),
        ("\udcff", "cannot read r.json: "),
        (None, "cannot read r.json: No such file"),
    ],
)
def test_a_file_that_is_no_record_is_refused(text: str | None, reason: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "r.json").write_bytes(text.encode(errors="surrogateescape"))
    done = report("r.json", "-o", "out.html", "--badge", "b.json", cwd=tmp_path)
    assert done.returncode == 2 and reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob("b.*"))


def test_what_is_known_says_where_it_is_tracked() -> None:
    link = "https://example.org/issues/1"
    known = {"kind": "numeric", "check": "lockstep", "summary": "s", "known": "old", "issue": link}
    stale = {**known, "kind": "stale", "issue": "javascript:alert(1)"}
    source = "".join(cells(render_html(minimal(findings=[known, stale, {"known": 3}]))))
    assert f'<td>old: <a href="{link}"' in " ".join(source.split()).replace("old:  <a", "old: <a")
    assert 'href="javascript' not in source and source.count(">known</span>") == 1


def test_findings_that_say_the_same_of_a_tensor_are_folded() -> None:
    said = ["step 1, m[0]: follows x", "step 1, v[0]: follows x", "step 2, m[3]: follows x"]
    found = [{"kind": "numeric", "tensor": s[8], "summary": s, "repro": f"x = {k}"}
             for k, s in enumerate(said)]  # fmt: skip
    found += [{"kind": "contract", "check": "closure", "summary": "a: b"}] * 2
    (cell,) = cells(render_html(minimal(findings=found)))
    assert cell.count('<details class="finding"') == 4
    page = Page(cell)
    assert page.text.count("follows x") == 2 and "and once more" in page.text
    assert "again: step 2, m[3]" in page.text and "x = 2" in page.text


def test_one_of_a_kind_is_no_plural() -> None:
    record = minimal(checks={"total": 1, "scenarios": 1, "steps": 2}, decay={"applies": "l2"})
    source = render_html(record)
    assert "1 check in 1 scenario, 2 steps" in cells(source)[0]
    assert "1 implementation<" in source and "1 implementation, all dtypes" in source


L2 = {"decay": "l2", "eps": "inside"}


@pytest.mark.parametrize(
    ("more", "sentence", "notes"),
    [
        ({"variant": None}, "No named variant explains what it computes.", []),
        (
            {"variant": None, "checks": {"contracts": {"resume": "broken: it raises"}}},
            "No named variant explains what it computes, and it breaks the contract resume.",
            [],
        ),
        (
            {"variant": L2, "findings": [{"kind": "contract", "check": "closure"}]},
            "Follows decay = l2, eps = inside, which it does not claim, and breaks the contract "
            "closure.",
            ["decay = l2, eps = inside"],
        ),
        (
            {"claimed": L2, "variant": L2, "checks": {"contracts": dict.fromkeys("ab", "broken")}},
            "Follows the equations that it claims, but breaks the contracts a, b.",
            [],
        ),
        (
            {"claimed": L2, "variant": {"decay": "l2"}, "verdict": "variant"},
            "Follows eps = the spec's default, which it does not claim.",
            ["eps = the spec's default"],
        ),
        (
            {"variant": {}, "verdict": "variant", "profile": {"scalars": "float32"}},
            "Follows the equations that it claims, with scalars = float32, which it does not "
            "claim.",
            ["scalars = float32"],
        ),
        ({}, VERDICTS["diverges"].meaning, []),
    ],
)
def test_the_verdict_is_told_by_what_was_found(
    more: Record, sentence: str, notes: list[str]
) -> None:
    record = minimal(**{"verdict": "diverges", "claimed": {}, **more})
    (result,) = record["results"]
    source = render_html(record)
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', cells(source)[0], re.S)
    assert " ".join(html.unescape(lead).split()).endswith(f"</span> {sentence}")
    assert [n for n in view_notes(result) if "finding" not in n] == notes
    for note in notes:
        assert f"<small>{Markup.escape(note)}</small>" in source


def test_who_leaves_the_claimed_variant_tells_nothing_of_those_next_to_it() -> None:
    beside = {"apart": ["eps = hat"], "open": ["decay = l2"]}
    for variant, tells in (({}, True), (L2, False), (None, False)):
        cell = cells(render_html(minimal(
            verdict="diverges", claimed={}, variant=variant, neighbours=beside
        )))[0]  # fmt: skip
        assert ("eps = hat" in cell) == tells
        assert ("tell nothing of those next to it" in cell) != tells


def test_contracts_stand_under_their_status() -> None:
    record = minimal(
        checks={
            "contracts": {
                "closure": "held",
                "pickle": "not applicable: it <refuses>",
                "storage": "broken",
                "resume": "broken: it raises as in run",
            }
        }
    )
    record["checks"] = {"closure": "step(closure) calls it once"}
    source = render_html(record)
    assert "step(closure) calls it once" in Page(source).text
    page = Page(cells(source)[0])
    assert "storage, resume (it raises as in run)" in page.text
    assert "pickle (it <refuses>)" in page.text
    assert page.text.index("broken 2") < page.text.index("held 1")
