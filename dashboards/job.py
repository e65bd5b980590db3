"""One job: when it runs, how it went, what it waits for, its file, and what can be done. `?id=etl/load`"""

from datetime import UTC, datetime

from apsis_nb.views.job_page import JobPage
from apsis_nb.views.page import Page

page = Page("job", "Job", now=lambda: datetime.now(UTC))
page.show(JobPage(page)).servable()
