"""Draws what ``--rows`` kept: ``python benchmarks/plot.py ROWS.json PICTURE.svg``.

A panel for each list of shapes and dtype.  With a GPU: the share of a copy's bandwidth that each
path reaches.  Without: how long the host build takes, in torch's steps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

MARKS = "osD^vP*"


def draw(found: dict[str, object]) -> Figure:
    rows = [r for r in found["rows"] if r["path"] != "planning"]
    on_device = any("share_of_copy" in r for r in rows)
    rows = [r for r in rows if not on_device or "share_of_copy" in r]
    panels = list(dict.fromkeys((r["shapes"], r["dtype"]) for r in rows))
    algorithms = list(dict.fromkeys(r["algorithm"] for r in rows))
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.4 * columns + 0.8, 2.7 * lines + 0.6), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    paths = list(dict.fromkeys(r["path"] for r in rows)) if on_device else ["host build"]
    value = "share_of_copy" if on_device else "ratio"
    for panel, (shapes, dtype) in zip(grid.flat, panels, strict=False):
        for k, path in enumerate(paths):
            here = [r for r in rows if (r["shapes"], r["dtype"]) == (shapes, dtype)]
            mine = [r for r in here if not on_device or r["path"] == path]
            panel.scatter(
                [r[value] for r in mine], [algorithms.index(r["algorithm"]) for r in mine],
                marker=MARKS[k % len(MARKS)], s=42, label=path, zorder=3,
                facecolors=f"C{k}" if k == 0 else "none", edgecolors=f"C{k}",
            )  # fmt: skip
        panel.axvline(1.0, color="0.4", linewidth=1)
        panel.set_title(f"{shapes}, {dtype}", fontsize=10)
        panel.set_yticks(range(len(algorithms)), algorithms)
        panel.set_ylim(len(algorithms) - 0.5, -0.5)
        panel.set_xlim(0, 1.05 * max(1.0, *(r[value] for r in rows)))
        panel.grid(axis="x", color="0.9")
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    for panel in grid.flat[len(panels) :]:
        panel.set_visible(False)
    figure.supxlabel(
        "share of a copy's bandwidth" if on_device else "time of the host build, in torch's steps",
        fontsize=10,
    )
    if on_device:
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper")
    machine = found["machine"]
    figure.suptitle(
        ", ".join(str(machine[k]) for k in ("device", "platform") if k in machine)
        + f", torch {machine['torch']}",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    rows, picture = sys.argv[1:]
    with matplotlib.rc_context({"svg.hashsalt": "optconform", "svg.fonttype": "none"}):
        draw(json.loads(Path(rows).read_text())).savefig(
            picture, metadata={"Date": None}, facecolor="white"
        )
