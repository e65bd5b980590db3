"""The frame of every page: its head with navigation and connection, and its foot."""

from collections.abc import Sequence
from hashlib import md5
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import param
from panel.util import edit_readonly  # type: ignore[attr-defined]
from panel_material_ui.template.base import Page as MaterialPage

from . import markup
from .board import PAGE_CSS, STACK_CSS, Board, Piece
from .pages import navigation

_HERE = Path(__file__).parent

#: The script of Material's components. A browser that is told of it by the page itself need not wait for the
#: document, which comes much later; with another address than the one that is asked for then it is of no use.
_SCRIPT = (
    f"panel-material-ui/panel-material-ui.bundle.js?{md5(version('panel-material-ui').encode()).hexdigest()}"
)

#: Material's components in the colours of page.html.
_THEME: dict[str, Any] = {
    "light": {
        "palette": {
            "primary": {"main": "#2456d6"},
            "background": {"default": "#f5f6f8", "paper": "#ffffff"},
            "text": {"primary": "#191c22", "secondary": "#59606d"},
            "divider": "#e2e5ea",
        }
    },
    "dark": {
        "palette": {
            "primary": {"main": "#86a9ff"},
            "background": {"default": "#101216", "paper": "#17191e"},
            "text": {"primary": "#e6e8ed", "secondary": "#9ba3b1"},
            "divider": "#2b2f37",
        }
    },
}
_FRAME: dict[str, Any] = {
    ".MuiAppBar-root": {
        "backgroundColor": "var(--ap-surface)",
        "backgroundImage": "none",
        "color": "var(--ap-text)",
        "boxShadow": "none",
        "borderBottom": "1px solid var(--ap-line)",
    },
    ".MuiToolbar-root": {"minHeight": "52px !important", "margin": "0 !important"},
    # Parts say themselves that they load; and after a lost connection this bar would stay for ever.
    ".MuiLinearProgress-root": {"display": "none"},
    ".main": {"backgroundColor": "var(--ap-bg)"},
    ".main-content": {"padding": "16px 20px 0"},
}


class Shell(Piece):
    """The head of a page."""

    page = param.String(doc="Which page this is: a name of `pages.PAGES`.")
    pages = param.List(doc="Where the navigation leads: name and title each.")
    alive = param.String(
        doc="Address that answers with the scheduler's boot id; empty: the page asks its own."
    )
    feed = param.String(
        default="reconnecting", regex="^(live|reconnecting)$", doc="The event stream of the process."
    )
    running = param.Integer(default=0, doc="How many runs are running: the tab's icon turns.")
    failed = param.Boolean(default=False, doc="Whether a run failed lately: the tab's icon is red.")
    failure = param.Dict(
        default={}, doc="What failed since the page was opened: how many, and of the last run its facts."
    )
    dark = param.Boolean(default=False, doc="Whether the page is dark now, by choice or by the system.")
    zone = param.String(default="local", doc="The zone in which times are shown: local, utc or a name.")
    own_zone = param.String(doc="The zone of the job that the page is about; empty: it has none of its own.")
    hidden = param.Boolean(default=False, doc="Whether nobody can see the page: it is then not renewed.")

    _bundle = _HERE / "shell.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS]

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "pages": navigation(), **params})


def frame(title: str, shell: Shell, parts: Sequence[Any], dialogs: Sequence[Any] = ()) -> MaterialPage:
    """A whole page.

    Args:
        title: of the browser's tab.
        shell: its head.
        parts: what it shows, from above.
        dialogs: what opens above it, and takes no room.
    """
    if (doc := pn.state.curdoc) is not None:
        doc.template_variables["material_script"] = _SCRIPT
    # A page may be longer than the window: else what is in it would be cut to that height, and overlap.
    styles = {"gap": "16px", "max-height": "none"}
    page = MaterialPage(
        title="",
        meta_title=title,
        header=[shell],
        main=[
            pn.Column(*parts, sizing_mode="stretch_width", styles=styles, stylesheets=[STACK_CSS]),
            *dialogs,
        ],
        template=_HERE / "page.html",
        theme_toggle=False,
        theme_config=_THEME,
        sx=_FRAME,
        sidebar_variant="temporary",  # there is none; a persistent one would still take its place
        main_width=1760,
        app_bar_width=1760,
    )
    # It would follow whether the process does anything for anybody, looking through all its models each time.
    with edit_readonly(page):
        page.busy = False
    return page


def foot(version: str, started_at: Any) -> Board:
    """The foot: which scheduler this is, and since when it runs."""
    since = markup.when(started_at, "full", empty="unknown")
    words = f"<span>apsis_nb {markup.text(version)}</span><span>scheduler running since {since}</span>"
    return Board(f'<footer class="foot">{words}</footer>')
