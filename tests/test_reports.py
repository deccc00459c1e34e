"""The renderers show all of a record, and nothing of it as markup."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from optconform.reports import render_html, render_markdown
from optconform.reports.view import VERDICTS, exact, headline, number_of, share, short, visible

SAMPLE = Path(__file__).parent / "data" / "record-sample.json"
VOID = {"meta", "input", "br", "link", "img", "hr"}
Record = dict[str, Any]


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
    page = Page(render_html(record))
    drilldowns = [a for t, a in page.tags if t == "details" and a.get("class") == "result"]
    assert len(drilldowns) == len(record["results"])
    assert sorted(a["data-verdict"] or "" for a in drilldowns) == sorted(
        result["verdict"] for result in record["results"]
    )
    for result in record["results"]:
        assert result["implementation"] in page.text
        assert result["message"] in page.text
    for finding in findings(record):
        assert finding["summary"] in page.text
        assert visible(finding.get("repro", "")) in page.text
        if "observed" in finding:
            assert exact(finding["observed"]) in page.text
    assert headline(record["results"]) in page.text


def test_page_marks_the_faulty_equation_and_explains_the_variant(record: Record) -> None:
    source = render_html(record)
    assert "<mark>v ← β₂·v + (1 − β₂)·g²</mark>" in source
    assert "before the bias correction" in source
    assert source.count('class="faulty"') == sum("equation" in f for f in findings(record))


def test_page_links_to_what_is_documented_if_it_is_a_web_address(record: Record) -> None:
    first, second = record["results"][:2]
    told = {
        **record,
        "results": [
            {**first, "documented": {"link": "https://example.org/adam", "silent": ["decay"]}},
            {**second, "documented": {"link": "javascript:alert(1)", "silent": "<b>"}},
        ],
    }
    source = render_html(told)
    assert '<a href="https://example.org/adam"' in source
    assert "which does not say: decay" in source
    assert 'href="javascript' not in source and "javascript:alert(1)" in source


def test_page_lets_nothing_of_the_record_become_markup(record: Record) -> None:
    source = render_html(record)
    page = Page(source)
    assert "<script>alert" not in source and "<img" not in source and "<b>bold" not in source
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "javascript:alert(1)" in page.text
    assert "{{ 7*7 }}" in page.text and "49}}" not in page.text
    assert "\u202e" not in source and "\\u202eabc" in page.text


def test_every_string_of_a_record_is_escaped(record: Record) -> None:
    poison = "\"'></script></pre><i>&amp;{{ 1 }}\ud800\x00"

    def poisoned(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: poisoned(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poisoned(item, key) for item in value]
        kept = key in ("schema", "verdict", "spec")
        return value + poison if isinstance(value, str) and not kept else value

    source = render_html(poisoned(record))
    source.encode()
    assert "<i>" not in source and "\x00" not in source
    assert "i" not in {tag for tag, _ in Page(source).tags}
    assert "<i>" not in render_markdown(poisoned(record))


def test_page_needs_no_other_file(record: Record) -> None:
    source = render_html(record)
    page = Page(source)
    assert not page.values("src") and "link" not in {tag for tag, _ in page.tags}
    assert "url(" not in source and "@import" not in source and "fetch(" not in source
    for tag, attrs in page.tags:
        if "href" in attrs:
            assert tag == "a"
            assert re.match(r"#\w|https?://", attrs["href"] or "")


def test_links_and_names_within_the_page_resolve(record: Record) -> None:
    page = Page(render_html(record))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    inner = [href[1:] for href in page.values("href") if href.startswith("#")]
    assert set(inner) <= set(ids)
    assert set(page.values("data-cell")) <= set(ids)


def test_a_large_record_stays_under_a_megabyte(record: Record) -> None:
    loud = next(r for r in record["results"] if r["verdict"] == "diverges")
    loud["findings"] = loud["findings"][:1]
    loud["findings"][0]["repro"] *= 12
    record["results"] = [
        {**copy.deepcopy(loud), "implementation": f"lib:Adam{n // 4}", "dtype": f"float{n % 4}"}
        for n in range(120)
    ]
    source = render_html(record)
    assert len(source.encode()) < 1_000_000
    assert "left out to keep this page small" in source
    assert source.count("Script that reproduces it") >= 20


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
    assert {row.count("|") for row in rows} == {len(record["run"]["dtypes"]) + 3}
    assert len(re.findall(r"^- ", text, re.M)) == len(findings(record))


def test_markdown_names_the_first_twenty_findings() -> None:
    text = render_markdown(minimal(findings=[{"summary": f"finding {n}"} for n in range(1, 1050)]))
    assert "finding 20\n- and 1,029 more\n" in text and "finding 21" not in text


def test_numbers_never_round_onto_a_threshold() -> None:
    assert short(0.99996) == "0.99996" and short(1) == "1" and short(0.8312) == "0.831"
    assert short("nan") == "nan" and number_of("12") is None
    assert exact(0.1) == "0.1" and exact("-inf") == "-inf"
    assert share(0, 10) == "0 %" and share(1, 10**6) == "< 0.1 %"
    assert share(999_999, 10**6) == "> 99.9 %" and share(1, 3) == "33.3 %"
    assert share(1, 0) == share(None, 3) == "—"


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
    page = Page(render_html(record))
    assert "storage, resume (it raises as in run)" in page.text
    assert "pickle (it <refuses>)" in page.text
    assert "step(closure) calls it once" in page.text
    assert page.text.index("broken 2") < page.text.index("held 1")
