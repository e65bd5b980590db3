"""Jobs as a graph: what waits for what and what starts what, each with how its last run went."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import param

from apsis_nb.core.states import State

from . import markup, palette
from .board import PAGE_CSS, Piece
from .catalogue import Known, is_disabled
from .dependencies import joined

_HERE = Path(__file__).parent
_CSS = (_HERE / "workflow.css").read_text(encoding="utf-8")

MOST_NODES = 150  #: of more nobody sees anything

_BAD = frozenset({State.FAILURE, State.ERROR})


@dataclass(frozen=True)
class Graph:
    """The jobs of a graph, and what joins them."""

    jobs: tuple[str, ...]  #: those that were chosen, and those beside them; by id
    edges: tuple[tuple[str, str, str], ...]  #: from, to, and `waits` or `starts`
    alone: int = 0  #: of those that were chosen, how many have to do with no other

    @property
    def is_too_large(self) -> bool:
        """Whether it cannot be drawn so that anybody sees something."""
        return len(self.jobs) > MOST_NODES


def graph_of(known: Known, chosen: Collection[str]) -> Graph:
    """The graph of some jobs, with the jobs next to them.

    Args:
        known: all jobs.
        chosen: ids.
    """
    wanted = set(chosen)
    edges = {ends: kind for ends, kind in joined(known).items() if not wanted.isdisjoint(ends)}
    jobs = {job_id for ends in edges for job_id in ends}
    ordered = tuple((first, then, kind) for (first, then), kind in sorted(edges.items()))
    return Graph(tuple(sorted(jobs)), ordered, alone=len(wanted - jobs))


def drawn(graph: Graph, known: Known, last_state: Callable[[str], str]) -> dict[str, Any]:
    """The graph as `Workflow.graph` has it.

    Args:
        last_state: of a job, how its last run is; empty: it never ran.
    """
    needs: dict[str, list[str]] = {}
    for first, then, kind in graph.edges:
        needs.setdefault(then, []).append(f"{'waits for' if kind == 'waits' else 'is started by'} {first}")
    nodes = [_node(job_id, known, last_state(job_id), needs.get(job_id, ())) for job_id in graph.jobs]
    return {"nodes": nodes, "edges": [{"from": a, "to": b, "kind": kind} for a, b, kind in graph.edges]}


def _node(job_id: str, known: Known, last: str, needs: Collection[str]) -> dict[str, Any]:
    folder, slash, title = job_id.rpartition("/")
    facts = known.jobs.get(job_id)
    state = State(last) if last else None
    look = palette.LOOKS[state or State.SCHEDULED]
    words = state.value if state else "never ran"
    is_bad = state in _BAD
    if facts is None:
        look, is_bad = palette.LOOKS[State.ERROR], True
        words = "broken file" if job_id in known.broken else "no such job"
    elif known.pause_of(job_id) is not None:
        words += ", paused"
    elif is_disabled(facts):
        words += ", disabled"
    return {
        "id": job_id,
        "folder": folder + slash,
        "title": title,
        "words": "; ".join(needs) or "waits for no job",
        "href": markup.job_url(job_id),
        "colour": look.colour,
        "icon": look.path,
        "state": words,
        "isBad": is_bad,
    }


def words_of(graph: Graph) -> str:
    """What is told beside the graph."""
    if not graph.jobs:
        return "None of these jobs waits for another, or starts one."
    if graph.is_too_large:
        return (
            f"{len(graph.jobs):,} jobs have to do with each other here, and {MOST_NODES} can be drawn: "
            "narrow them by words of their ids, or by a label."
        )
    others = f" Not drawn: {graph.alone:,} that stand alone." if graph.alone else ""
    return f"A line leads from a job to those that wait for it; a dashed one to what it starts.{others}"


class Workflow(Piece):
    """The picture of a graph."""

    graph = param.Dict(default={}, doc="`nodes` and `edges`, as `drawn` gives them; empty: none.")

    _bundle = _HERE / "workflow.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, _CSS]

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", **params})

    def draw(self, graph: Mapping[str, Any]) -> None:
        """Draw it, unless it is drawn already."""
        if graph != self.graph:
            self.graph = dict(graph)
