"""Reports: one JSON record rendered as a self-contained HTML page or as a CI step summary."""

from optconform.reports.html import render_html
from optconform.reports.markdown import render_markdown

__all__ = ["render_html", "render_markdown"]
