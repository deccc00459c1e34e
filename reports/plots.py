"""The plots of a comparison, as SVG that lives inside a page and takes its colours from it.

Matplotlib is loaded when a plot is drawn: no other command waits for it.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any

from optconform.reports.comparison import plain
from optconform.reports.view import Json

# what is drawn in these colours gets the page's own, light or dark
INK, SOFT, LINE = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606")
COLOURS: Mapping[str, str] = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    **{c: f"var(--plot{k})" for k, c in enumerate(SERIES, 1)},
}
DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))  # for those who do not see the colours

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
}


def distance_plot(record: Json) -> str | None:
    """Relative distance against steps: a panel for each scale of the gradients, a line for each
    value of what is turned.  None where no distance is above zero."""
    found = record["trajectories"]
    steps = found["curve_steps"]
    drawn = [d for c in found["curves"] for d in c["distance"] if d]
    if not drawn:
        return None

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(found["scales"]), sharey=True)
        for panel, scale in zip(panels, found["scales"], strict=True):
            curves = [c for c in found["curves"] if c["scale"] == scale]
            for k, curve in enumerate(curves):
                points = [(s, d) for s, d in zip(steps, curve["distance"], strict=True) if d]
                label = None if curve["value"] is None else plain(curve["value"])
                panel.plot(
                    [s for s, _ in points], [d for _, d in points],
                    color=SERIES[k % len(SERIES)], linestyle=DASHES[k % len(DASHES)],
                    linewidth=1.8, label=label,
                )  # fmt: skip
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xlim(1, steps[-1])
            low = math.floor(math.log10(min(drawn)) - 0.05)
            high = math.ceil(math.log10(max(drawn)) + 0.05)
            panel.set_ylim(10.0**low, 10.0**high)
            every = max(1, math.ceil((high - low) / 8))
            panel.set_yticks([10.0**e for e in range(low, high + 1, every)])
            panel.set_title(f"gradients N(0, 1) · {plain(scale)}")
            panel.set_xlabel("step")
            panel.grid(True, which="major", linewidth=0.8)
            panel.minorticks_off()
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(lambda x, _: plain(x))
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
        panels[0].set_ylabel("|p_a − p_b| / |p_a − p_0|")
        if found["knob"]:
            handles, names = panels[0].get_legend_handles_labels()
            figure.legend(
                handles, names, title=found["knob"], loc="outside right center", handlelength=2.6
            )

    return _svg(draw, "distance", (11.5, 3.9))


def heat_plot(record: Json) -> str | None:
    """Relative distance over lr and what is turned beside it."""
    found = record["trajectories"]
    heat = found["heat"]
    if heat is None:
        return None
    table = heat["distance"]
    logs = [math.log10(d) for row in table for d in row if d]
    if not logs:
        return None
    low, high = min(logs), max(max(logs), min(logs) + 1e-9)

    def draw(figure: Any) -> None:
        from matplotlib import colormaps
        from matplotlib.patches import Rectangle

        panel = figure.subplots()
        shades = colormaps["viridis"]
        for y, row in enumerate(table):
            for x, d in enumerate(row):
                at = (math.log10(d) - low) / (high - low) if d else 0.0
                red, green, blue, _ = shades(at)
                panel.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=(red, green, blue)))
                bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
                text = "—" if d is None else f"{d:.1g}" if d else "0"
                panel.text(x, y, text, ha="center", va="center", fontsize=9,
                           color="#111111" if bright else "#ffffff")  # fmt: skip
        panel.set_xlim(-0.5, len(heat["lrs"]) - 0.5)
        panel.set_ylim(-0.5, len(heat["values"]) - 0.5)
        panel.set_xticks(range(len(heat["lrs"])), [plain(x) for x in heat["lrs"]])
        panel.set_yticks(range(len(heat["values"])), [plain(x) for x in heat["values"]])
        panel.set_xlabel("lr")
        panel.set_ylabel(found["knob"])
        panel.tick_params(length=0)
        for side in panel.spines.values():
            side.set_visible(False)

    return _svg(draw, "heat", (8.2, 4.6))


def _svg(draw: Any, name: str, inches: tuple[float, float]) -> str:
    """An ``svg`` element for a page: the same bytes for the same figures, nothing from outside."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {**STYLE, "svg.hashsalt": f"optconform {name}"}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own style is
        matplotlib.rcParams.update(style)
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nothing)
    return _inlined(out.getvalue(), name)


def _inlined(source: str, name: str) -> str:
    """The ``svg`` element alone: no prologue, no metadata, its own ids, the page's colours."""
    text = source[source.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", text)
    text = text.replace("xlink:href", "href")
    for drawn, own in COLOURS.items():
        text = text.replace(drawn, own)
    text = re.sub(r"\n\s*\n+", "\n", text)
    return text.strip()
