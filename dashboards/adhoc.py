"""A new run: of a job, with fields for its params, or of a command. `?job=ID&arg.date=...`"""

from datetime import UTC, datetime

from apsis_nb.views.adhoc import adhoc_form
from apsis_nb.views.page import Page

page = Page("adhoc", "New run", now=lambda: datetime.now(UTC))
page.show(adhoc_form(page)).servable()
