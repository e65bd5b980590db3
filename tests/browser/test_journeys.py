"""What somebody new does who has read nothing, and in how many clicks."""

import time

import pytest
from playwright.sync_api import Error as PlaywrightError

from tests.browser.test_pages import wait_for_words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Fails for one date: its data has not come.
COUNT = """
params: {date: {type: date, description: The day whose orders are counted.}}
metadata: {description: Counts the orders of a day.}
program:
  type: shell
  command: |
    if [ "$APSIS_ARG_DATE" = 2026-11-29 ]; then
      echo "FileNotFoundError: no orders of 2026-11-29 have come"; exit 1
    fi
    echo "counted the orders of $APSIS_ARG_DATE"
"""

# The middle of what the words are on, once it is seen and nothing lies over it. Runs come and go above it: a
# click that comes when it has moved away does nothing.
PLACE = """
([selector, words]) => {
  const el = deep(selector).find(e => e.textContent.trim().includes(words) && e.checkVisibility())
  el?.scrollIntoView({block: "center"})
  const box = el?.getBoundingClientRect()
  if (!box?.width) { return null }
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]
  let top = document.elementFromPoint(x, y)
  while (top?.shadowRoot) { top = top.shadowRoot.elementFromPoint(x, y) }
  if (el !== top && !el.contains(top)) { return null }
  window.missed = false
  document.addEventListener("click", event => {
    if (event.composedPath().includes(el)) { return }
    window.missed = true
    event.preventDefault()
    event.stopImmediatePropagation()
  }, {capture: true, once: true})
  return [x, y]
}"""


class Mouse:
    """Clicks on what is seen, and counts."""

    def __init__(self, tab):
        self.tab, self.clicks = tab, 0

    def click(self, selector, words):
        while True:
            place = self.tab.wait_for_function(PLACE, arg=[selector, words]).json_value()
            self.tab.mouse.click(*place)
            if not self._missed():
                break
        self.clicks += 1

    def _missed(self):
        try:
            return self.tab.evaluate("() => window.missed === true")
        except PlaywrightError:  # it has led to another page
            return False


#: How many runs of this month were late, by job and by what the page says held them.
LATE = """
SELECT job_id, CASE late_why
    WHEN 'condition' THEN 'a condition' WHEN 'limit' THEN 'a limit of runs'
    WHEN 'host' THEN 'its host' WHEN 'server' THEN 'the server'
    ELSE CASE WHEN started_at IS NULL THEN 'still waits' ELSE 'ended late' END END AS why, count(*) AS n
FROM runs WHERE late AND origin <> 'test' AND scheduled_at >= date_trunc('month', utc_now()) GROUP BY ALL"""


FIRST_ROW = """
() => ["button.job", ".whys b"].map(what => deep("tbody tr:first-child " + what)[0]?.textContent)
"""


def first_row(tab, client):
    """The job of the first row and why it was late, once they are what the history says: runs go on."""
    until = time.monotonic() + 30
    while True:
        job, why = tab.evaluate(FIRST_ROW)
        late = client.sql(LATE)
        counts = late.groupby("job_id")["n"].sum()
        of_job = late[late["job_id"] == job]
        if counts.get(job) == counts.max() and why in set(of_job[of_job["n"] == of_job["n"].max()]["why"]):
            return job, why
        assert time.monotonic() < until, f"the page says {job}, {why}, the history:\n{late}"
        tab.wait_for_timeout(200)


@pytest.fixture(scope="module")
def client(demo):
    with demo.client() as client:
        yield client


def test_what_failed_is_found_understood_and_run_for_another_date(reader, client, demo):
    file = demo.folder / "jobs" / "sales" / "count.yaml"
    file.write_text(COUNT)
    try:
        client.reload()
        failed = client.schedule("sales/count", date="2026-11-29").wait(30)
        tab = reader().open("overview")
        mouse = Mouse(tab)

        mouse.click("a.run", failed.run_id)
        wait_for_words(tab, ".why", "no orders of 2026-11-29 have come")
        mouse.click(".acts button", "Run again")
        tab.wait_for_function("() => deep('dialog[open] input[type=date]').length")
        tab.evaluate("() => { deep('dialog[open] input[type=date]')[0].value = '2026-11-28' }")
        mouse.click("dialog[open] button", "Run again")
        wait_for_words(tab, ".said", "was made")
        mouse.click(".said a.run", "r")
        wait_for_words(tab, ".big b", "success")
        wait_for_words(tab, ".blocks", "counted the orders of 2026-11-28")
        assert mouse.clicks <= 6
        assert mouse.clicks == 4, "docs/dashboards.md says so"

        # Whoever comes later sees that somebody has seen to it.
        mouse.click("nav.wide a", "Overview")
        wait_for_words(tab, "tr", f"run again as {client.runs(job='sales/count')['run_id'].iloc[0]}")
    finally:
        file.unlink()
        client.reload()


def test_which_jobs_are_late_most_often_this_month_and_why(reader, client):
    tab = reader(zone="UTC").open("overview")
    mouse = Mouse(tab)

    mouse.click("nav.wide a", "Late and missed")
    mouse.click("button[data-action=range]", "This month")
    wait_for_words(tab, "button[aria-pressed=true]", "This month")
    if not len(client.sql(LATE)):  # the month has just begun
        wait_for_words(tab, ".nothing", "No run was late")
        return
    first, _ = first_row(tab, client)
    mouse.click("tbody tr:first-child button.job", first)
    wait_for_words(tab, "h2", f"How late {first} started")
    first_row(tab, client)
    assert mouse.clicks == 3
