"""Late and missed runs: which jobs, why, over time, one by one, and what to do about them."""

from datetime import UTC, datetime

from apsis_nb.views.late_page import LatePage
from apsis_nb.views.page import Page

page = Page("late", "Late and missed", now=lambda: datetime.now(UTC))
page.show(LatePage(page)).servable()
