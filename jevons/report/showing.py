"""Tells results how to show themselves; the doors of the package load it with what makes results."""

from __future__ import annotations

from jevons.answer import Result
from jevons.attribution import Waterfall
from jevons.comparison import Comparison
from jevons.day import DayResult
from jevons.display import show
from jevons.gallery import Gallery
from jevons.market_implied import Implied
from jevons.report import comparing, day_text, gallery, html, implied_text, text, waterfall_text

show(Result, text.summary_table, html.summary_html)
show(DayResult, day_text.summary_table)
show(Comparison, comparing.comparison_table)
show(Gallery, gallery.gallery_table)
show(Waterfall, waterfall_text.waterfall_table)
show(Implied, implied_text.implied_table)
