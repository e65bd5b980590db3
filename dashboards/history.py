"""The history: how runs ended over any range, how long they took, what they cost; and SQL."""

from datetime import UTC, datetime

from apsis_nb.views.history_page import HistoryPage
from apsis_nb.views.page import Page

page = Page("history", "History", now=lambda: datetime.now(UTC))
page.show(HistoryPage(page)).servable()
