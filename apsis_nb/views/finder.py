"""Search, and help with the keyboard: two dialogs that every page has."""

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import panel as pn
import param

from apsis_nb.client import Client, NoSuch
from apsis_nb.core.errors import ApsisError

from .board import PAGE_CSS, Piece
from .catalogue import Catalogue, Known
from .pages import navigation

if TYPE_CHECKING:
    from .page import Page

_HERE = Path(__file__).parent
_CSS = (_HERE / "finder.css").read_text(encoding="utf-8")

MOST_JOBS, MOST_LABELS = 8, 4  #: that are shown of what fits

#: Labels that people gave to runs lately; what belongs to jobs is known already.
_RUN_LABELS = f"""
SELECT label, count(*) AS runs
FROM (
    SELECT unnest(labels::JSON::VARCHAR[]) AS label
    FROM runs
    WHERE scheduled_at >= utc_now() - INTERVAL 30 DAY AND origin <> 'schedule'
        AND labels ILIKE $words ESCAPE '!'
)
WHERE label ILIKE $words ESCAPE '!'
GROUP BY label ORDER BY runs DESC, label LIMIT {MOST_LABELS}"""


class Finder(Piece):
    """The dialogs; closed until somebody wants them."""

    found = param.Dict(
        default={}, doc="What question `n` found: `words`, `items`, how many `more` jobs, and `error`."
    )
    pages = param.List(doc="Where the navigation leads: name and title each.")

    _bundle = _HERE / "finder.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, _CSS]

    def __init__(self, page: "Page", **params: Any) -> None:
        super().__init__(**{"pages": navigation(), "styles": {"position": "absolute"}, **params})
        self._page = page

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict) and isinstance(data.get("words"), str):
            pn.state.execute(partial(self._find, data["words"], data.get("n")))

    async def _find(self, words: str, n: Any) -> None:
        try:
            (items, more), error = await asyncio.to_thread(self._look, words), ""
        except ApsisError as failed:
            items, more, error = [], 0, str(failed)
        answer = {"words": words, "items": items, "more": more, "error": error, "n": n}
        self._page.later(lambda: self.param.update(found=answer))

    def _look(self, words: str) -> tuple[list[dict[str, str]], int]:
        items = find(self._page.client, self._page.catalogue, words)
        jobs = len(jobs_with(self._page.catalogue.look(), words.strip()))
        return items, max(0, jobs - MOST_JOBS)


def find(client: Client, catalogue: Catalogue, words: str) -> list[dict[str, str]]:
    """The run of that id, jobs and labels that have the words: kind, title, detail, href."""
    words = words.strip()
    known = catalogue.look()
    items = _run_of(client, words) + jobs_with(known, words)[:MOST_JOBS]
    if words:
        items += _labels(client, known, words)
    return items


def _run_of(client: Client, words: str) -> list[dict[str, str]]:
    number = words.lower().removeprefix("r")
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        return []
    try:
        facts = client.run(f"r{number}").facts
    except NoSuch:
        return []
    detail = f"{facts['job_id']}, {facts['state']}"
    return [{"kind": "run", "title": f"r{number}", "detail": detail, "href": f"run?id=r{number}"}]


def jobs_with(known: Known, words: str) -> list[dict[str, str]]:
    """The jobs that have all the words in id, labels or description; the likeliest first."""
    wanted = words.lower().split()
    ranked = []
    for job_id, facts in known.jobs.items():
        metadata = facts["metadata"]
        description = str(metadata.get("description") or "")
        everything = " ".join([job_id, *metadata["labels"], description]).lower()
        if all(word in everything for word in wanted):
            ranked.append((_rank(job_id.lower(), wanted), job_id, description))
    ranked.sort()
    return [
        {"kind": "job", "title": i, "detail": _first_line(said), "href": f"job?{urlencode({'id': i})}"}
        for _, i, said in ranked
    ]


def _rank(job_id: str, wanted: list[str]) -> int:
    """How far from what is meant: 0 is the id itself."""
    name = job_id.rpartition("/")[2]
    whole = " ".join(wanted)
    if whole in {job_id, name}:
        return 0
    if wanted and (job_id.startswith(whole) or name.startswith(whole)):
        return 1
    return 2 if all(word in job_id for word in wanted) else 3


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 120 else line[:119] + "…"


def _labels(client: Client, known: Known, words: str) -> list[dict[str, str]]:
    low = words.lower()
    of_jobs = [(label, count) for label, count in known.labels.items() if low in label.lower()]
    like = "%" + "".join("!" + c if c in "!%_" else c for c in words) + "%"
    _, rows = client.sql_rows(_RUN_LABELS, {"words": like})
    items = [_label_item(label, f"label of {_many(n, 'job')}", "jobs") for label, n in of_jobs[:MOST_LABELS]]
    return items + [
        _label_item(row["label"], f"label of {_many(row['runs'], 'run')} in 30 days", "timeline")
        for row in rows
        if row["label"] not in known.labels
    ]


def _label_item(label: str, detail: str, page: str) -> dict[str, str]:
    query = {"label": label} if page == "jobs" else {"job": label, "span": "30d"}
    return {"kind": "label", "title": label, "detail": detail, "href": f"{page}?{urlencode(query)}"}


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
