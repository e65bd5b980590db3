"""What axe finds that keeps somebody from using a page: who sees little or nothing, or has no mouse."""

from collections.abc import Sequence
from importlib.resources import files

from playwright.sync_api import Page

_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

# Bokeh's canvas has no roles, and its tools no names: what a plot shows stands in a table on the same page.
_FIND = r"""
async (rules) => {
  const options = {resultTypes: ["violations"], ...(rules ? {runOnly: rules} : {})}
  const {violations} = await axe.run(document, options)
  const isBokehs = ({target}) => /\.bk-(Figure|Canvas|Toolbar|events)/.test(target.flat().join(" "))
  const told = ({id, impact}, {target, html, any, all, none}) => {
    const why = [...any, ...all, ...none][0]?.message ?? ""
    return `${impact} ${id}: ${target.flat().at(-1)}: ${html.slice(0, 160)}: ${why}`
  }
  return violations.filter(({impact}) => ["serious", "critical"].includes(impact))
    .flatMap(rule => rule.nodes.filter(node => !isBokehs(node)).map(node => told(rule, node)))
}
"""


def axe_faults(tab: Page, rules: Sequence[str] | None = None) -> list[str]:
    """The serious and critical ones of the page as it is now, outside Bokeh's canvas.

    Args:
        tab: a page that has settled.
        rules: only these of axe; None: all.
    """
    if not tab.evaluate("() => 'axe' in window"):
        tab.evaluate(_AXE)
    found: list[str] = tab.evaluate(_FIND, rules)
    return found
