"""One run: its state and times, its log and output as they grow, and what can be done with it. `?id=r123`"""

from datetime import UTC, datetime

from apsis_nb.views.page import Page
from apsis_nb.views.run_page import RunPage

page = Page("run", "Run", now=lambda: datetime.now(UTC))
page.show(RunPage(page)).servable()
