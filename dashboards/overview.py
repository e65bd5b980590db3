"""The overview: what runs, waits, is late and failed, and what comes next."""

from datetime import UTC, datetime

from apsis_nb.views.overview import Overview
from apsis_nb.views.page import Page

page = Page("overview", "Overview", now=lambda: datetime.now(UTC))
page.show(Overview(page)).servable()
