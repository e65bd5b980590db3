"""The jobs: a tree by path with how each is, and what can be done with them."""

from datetime import UTC, datetime

from apsis_nb.views.jobs_page import JobsPage
from apsis_nb.views.page import Page

page = Page("jobs", "Jobs", now=lambda: datetime.now(UTC))
page.show(JobsPage(page)).servable()
