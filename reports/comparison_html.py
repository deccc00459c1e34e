"""A comparison as one self-contained HTML page, plots included."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from optconform.reports import comparison as view
from optconform.reports.html import environment
from optconform.reports.plots import distance_plot, heat_plot
from optconform.reports.view import Json


def comparison_html(record: Json) -> str:
    """The page of a comparison: no network, no script, every string of the record escaped."""
    record = view.checked(record)
    folder = resources.files("optconform.reports") / "templates"
    style = "".join((folder / f).read_text("utf-8") for f in ("report.css", "compare.css"))
    parted = not record["same"] and record["trajectories"] is not None
    plots = [distance_plot(record), heat_plot(record)] if parted else [None, None]
    distance, heat = (None if p is None else Markup(p) for p in plots)  # drawn here, from numbers
    separated = not record["same"] and record["separation"] is not None
    page: str = (
        environment()
        .get_template("compare.html.j2")
        .render(
            record=record,
            labels=view.labels(record),
            sides=view.sides(record),
            headline=view.headline(record),
            defaults=view.defaults_table(record),
            axes=view.axes(record),
            notes=view.notes(record) if record["axes"] else [],
            proofs=view.proofs(record),
            facts=view.separation_facts(record) if separated else [],
            dtypes=view.separation_table(record) if separated else None,
            nothing_separates=view.NOTHING_SEPARATES,
            bounds=view.BOUNDS,
            parted=parted,
            conditions=view.conditions(record) if parted else "",
            by_gradient=view.distances_by_gradient(record) if parted else None,
            by_setting=view.distances_by_setting(record) if parted else None,
            every=view.every_distance(record) if parted else None,
            meaning=view.distance_meaning(record) if parted else "",
            own=view.own_defaults(record) if parted else None,
            decay=view.decay_table(record) if parted else None,
            decay_said=view.decay_sentences(record)
            if parted and record["trajectories"]["decay"]
            else [],
            distance=distance,
            heat=heat,
            style=Markup(style),  # the package's own files, nothing of the record
        )
    )
    return page
