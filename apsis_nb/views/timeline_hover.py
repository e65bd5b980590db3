"""What the timeline says of what lies below the pointer, and what a tap on it does."""

from typing import Any

from bokeh.models import CustomJS, CustomJSHover, HoverTool, TapTool

from .timeline_layout import STATES

_CELL = '<td style="opacity:.7;padding-right:12px">'
_HOVER = f"""
<div style="font:13px/1.5 Roboto,system-ui,sans-serif;min-width:190px;padding:2px 4px">
  <div style="font-weight:600">@job_id</div>
  <div><span style="color:@colour">&#9632;</span> @state{{custom}}</div>
  <table style="border-spacing:0;margin-top:4px">
    <tr>{_CELL}run</td><td>@run_id</td></tr>
    <tr>{_CELL}stands for</td><td>@runs{{custom}}</td></tr>
    <tr>{_CELL}due</td><td>@scheduled{{custom}}</td></tr>
    <tr>{_CELL}started</td><td>@started{{custom}}</td></tr>
    <tr>{_CELL}ended</td><td>@finished{{custom}}</td></tr>
    <tr>{_CELL}took</td><td>@took_s{{custom}}</td></tr>
    <tr>{_CELL}late</td><td>@late_s{{custom}}</td></tr>
  </table>
</div>"""
_HOVER_TIME = """
if (value > 1e14) { return "\\u2013" }
const iso = new Date(value).toISOString()
return window.apsis ? window.apsis.show(iso, "full") : iso.slice(0, 19).replace("T", " ") + " UTC"
"""
_HOVER_DURATION = """
if (value > 1e14) { return "\\u2013" }
const s = Math.abs(value), two = (n) => String(Math.floor(n)).padStart(2, "0")
const pair = (n, unit, m, lesser) => `${Math.floor(n)} ${unit} ${two(m)} ${lesser}`
const words = s < .9995 ? `${(s * 1000).toFixed(0)} ms` : s < 9.95 ? `${s.toFixed(1)} s`
  : s < 59.5 ? `${s.toFixed(0)} s` : s < 3600 ? pair(s / 60, "m", s % 60, "s")
  : s < 86400 ? pair(s / 3600, "h", s % 3600 / 60, "m") : pair(s / 86400, "d", s % 86400 / 3600, "h")
return value < 0 || Object.is(value, -0) ? `no (${words})` : words
"""
_HOVER_RUNS = (
    'return value === 1 ? "one run" : `${value.toLocaleString("en")} runs; the worst state is shown`'
)
_HOVER_STATE = "return value < 0 ? 'expected' : states[value]"
#: Of the two taps of a double tap the first must not leave the page.
_WAIT_MS = 280
# What both kinds of tap know of each other.
_SHARED = "const taps = (window.apsisTaps ??= new Map())\n"
# A tap opens the page of a run, of a merged bar zooms into it; a double tap zooms to the run.
_TAP = """
const n = cb_data.source.selected.indices[0]
if (n === undefined) { return }
const data = cb_data.source.data
cb_data.source.selected.indices = []
const bar = {left: data.left?.[n] ?? data.x[n], right: data.right?.[n] ?? data.x[n]}
const zoom = () => {
  const pad = Math.max((bar.right - bar.left) * .15, 1000)
  x_range.setv({start: bar.left - pad, end: bar.right + pad})
}
clearTimeout(taps.get("timer"))
taps.set("zoom", zoom)
if (Date.now() < (taps.get("doubled") ?? 0) + 2 * wait) { return }
if (data.runs && data.runs[n] > 1) { zoom() }
else if (page && data.run_id[n]) {
  const address = page + encodeURIComponent(data.run_id[n])
  window.apsis?.opening(address, `Opening ${data.run_id[n]} \u2026`)
  taps.set("timer", setTimeout(() => { window.location.href = address }, wait))
}
"""
_DOUBLE_TAP = """
clearTimeout(taps.get("timer"))
window.apsis?.opening()
taps.set("doubled", Date.now())
taps.get("zoom")?.()
taps.delete("zoom")
"""


def hover_tool(renderers: list[Any]) -> HoverTool:
    """Tells all of a bar."""
    time, length = CustomJSHover(code=_HOVER_TIME), CustomJSHover(code=_HOVER_DURATION)
    return HoverTool(
        tooltips=_HOVER,
        formatters={
            **dict.fromkeys(["@scheduled", "@started", "@finished"], time),
            **dict.fromkeys(["@took_s", "@late_s"], length),
            "@runs": CustomJSHover(code=_HOVER_RUNS),
            "@state": CustomJSHover(args={"states": STATES}, code=_HOVER_STATE),
        },
        renderers=renderers,
        point_policy="follow_mouse",
        attachment="vertical",
        visible=False,
    )


def tap_tool(figure: Any, renderers: list[Any], page: str) -> TapTool:
    """Opens runs, and zooms.

    Args:
        figure: whose double taps are heard, too.
        renderers: what can be tapped.
        page: address of a run's page up to its id; empty: a tap opens nothing.
    """
    args = {"x_range": figure.x_range, "page": page, "wait": _WAIT_MS}
    figure.js_on_event("doubletap", CustomJS(args={"wait": _WAIT_MS}, code=_SHARED + _DOUBLE_TAP))
    return TapTool(renderers=renderers, callback=CustomJS(args=args, code=_SHARED + _TAP), visible=False)
