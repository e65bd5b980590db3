"""The overview: what runs, waits, is late and failed, and what comes next."""

from apsis_nb.views.overview import Overview
from apsis_nb.views.page import Page

page = Page("overview", "Overview")
page.show(Overview(page)).servable()
