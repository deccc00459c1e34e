"""Reports: one JSON record rendered as a self-contained HTML page, a CI step summary or a badge."""

from optconform.reports.badge import render_badge
from optconform.reports.comparison_html import comparison_html
from optconform.reports.comparison_text import comparison_markdown, tell_comparison
from optconform.reports.html import render_html
from optconform.reports.markdown import render_markdown

__all__ = [
    "comparison_html",
    "comparison_markdown",
    "render_badge",
    "render_html",
    "render_markdown",
    "tell_comparison",
]
