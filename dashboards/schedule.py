"""The schedule: what will run, by hour of the week and as a list."""

from datetime import UTC, datetime

from apsis_nb.views.page import Page
from apsis_nb.views.schedule_page import SchedulePage

page = Page("schedule", "Schedule", now=lambda: datetime.now(UTC))
page.show(SchedulePage(page)).servable()
