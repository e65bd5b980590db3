"""The timeline: the runs of a window of time as bars, and below them as a table."""

from datetime import UTC, datetime

from apsis_nb.views.page import Page
from apsis_nb.views.timeline_page import TimelinePage

page = Page("timeline", "Timeline", now=lambda: datetime.now(UTC))
page.show(TimelinePage(page)).servable()
