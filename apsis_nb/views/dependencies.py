"""What a job waits for and what waits for it, as trees: from the conditions and actions of all jobs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import markup, palette
from .catalogue import Known
from .markup import text

MOST_DEEP = 6
MOST_NODES = 60  #: of a tree; a job on which everything depends is told in numbers


@dataclass(frozen=True)
class Link:
    """That one job has to do with another."""

    job_id: str
    words: str  #: how, such as `has to end in success`


@dataclass(frozen=True)
class Node:
    """A job in a tree, and what comes beyond it."""

    link: Link
    below: tuple["Node", ...] = ()
    is_again: bool = False  #: it stands nearer to the root, or is the root: what is beyond is not told again


def _conditions(facts: Mapping[str, Any]) -> list[Link]:
    links = []
    for condition in facts["condition"]:
        if condition.get("type") == "dependency":
            states = " or ".join(condition.get("states") or ["success"])
            links.append(Link(str(condition["job_id"]), f"has to end in {states}"))
    return links


def _actions(facts: Mapping[str, Any]) -> list[Link]:
    links = []
    for action in facts["action"]:
        if action.get("type") == "schedule":
            when = action.get("if") or {}
            states = [*(when.get("states") or []), *(name for name in when if name != "states")]
            links.append(Link(str(action["job_id"]), f"after {' or '.join(states)}"))
    return links


def before(known: Known, job_id: str) -> list[Link]:
    """What a job waits for, and what starts it."""
    facts = known.jobs.get(job_id)
    waits = [] if facts is None else _conditions(facts)
    starts = [
        Link(other, f"starts it {link.words}")
        for other, theirs in known.jobs.items()
        for link in _actions(theirs)
        if link.job_id == job_id
    ]
    return [*waits, *starts]


def after(known: Known, job_id: str) -> list[Link]:
    """What waits for a job, and what it starts."""
    facts = known.jobs.get(job_id)
    starts = [] if facts is None else [Link(a.job_id, f"is started {a.words}") for a in _actions(facts)]
    waits = [
        Link(other, "waits for it")
        for other, theirs in known.jobs.items()
        for link in _conditions(theirs)
        if link.job_id == job_id
    ]
    return [*waits, *starts]


def joined(known: Known) -> dict[tuple[str, str], str]:
    """All that joins two jobs: the first, the other, and whether that `waits` or the first `starts` it.

    Where both is so it waits, for without that it does not run.
    """
    found: dict[tuple[str, str], str] = {}
    for job_id, facts in known.jobs.items():
        found.update({(job_id, link.job_id): "starts" for link in _actions(facts)})
    for job_id, facts in known.jobs.items():
        found.update({(link.job_id, job_id): "waits" for link in _conditions(facts)})
    return found


def grow(links_of: Callable[[str], list[Link]], job_id: str) -> tuple[list[Node], int]:
    """The tree beyond a job, and how many nodes were left out.

    Args:
        links_of: the links of a job in the wanted direction.
        job_id: the root.
    """
    seen, left = {job_id}, MOST_NODES
    omitted = 0

    def nodes(of: str, depth: int) -> list[Node]:
        nonlocal left, omitted
        found = []
        for link in links_of(of):
            if left == 0:
                omitted += 1
                continue
            left -= 1
            is_again = link.job_id in seen
            seen.add(link.job_id)
            goes_on = not is_again and depth < MOST_DEEP
            found.append(Node(link, tuple(nodes(link.job_id, depth + 1)) if goes_on else (), is_again))
        return found

    return nodes(job_id, 1), omitted


def job_ids(nodes: Iterable[Node]) -> set[str]:
    """All jobs of a tree."""
    found: set[str] = set()
    for node in nodes:
        found |= {node.link.job_id} | job_ids(node.below)
    return found


def tree_html(
    nodes: list[Node], known: Known, last: Mapping[str, Mapping[str, Any]] | None, omitted: int
) -> str:
    """The tree as nested lists.

    Args:
        nodes: of the first level.
        known: which jobs there are.
        last: of each job `last_run_id` and `last_state`; None: that is not known yet.
        omitted: how many more there are.
    """
    items = "".join(_node_html(node, known, last) for node in nodes)
    more = f'<li class="muted">and {omitted:,} more</li>' if omitted else ""
    return f'<ul class="tree">{items}{more}</ul>'


def _node_html(node: Node, known: Known, last: Mapping[str, Mapping[str, Any]] | None) -> str:
    job_id = node.link.job_id
    state = _state_html(job_id, known, None if last is None else last.get(job_id, {}))
    below = f"<ul>{''.join(_node_html(n, known, last) for n in node.below)}</ul>" if node.below else ""
    again = ' <span class="muted">(see above)</span>' if node.is_again else ""
    return (
        f"<li>{state} {markup.job_link(job_id)} "
        f'<span class="muted">{text(node.link.words)}</span>{again}{below}</li>'
    )


def _state_html(job_id: str, known: Known, last: Mapping[str, Any] | None) -> str:
    if job_id in known.broken:
        return f'<span class="mark bad">{palette.WARNING_SIGN} broken file</span>'
    if job_id not in known.jobs:
        return f'<span class="mark bad">{palette.WARNING_SIGN} no such job</span>'
    if last is None:
        return ""
    if not markup.given(last.get("last_run_id")):
        return '<span class="mark">never ran</span>'
    run_id = f"r{str(last['last_run_id']).removeprefix('r')}"
    badge = markup.badge(last["last_state"])
    return (
        f'<a class="plain" href="{text(markup.run_url(run_id))}" title="its last run, {run_id}">{badge}</a>'
    )
