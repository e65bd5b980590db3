"""What programs print, as HTML: colours of ANSI escapes as classes, everything else escaped."""

import re

from ansi2html import Ansi2HTMLConverter

#: The sixteen colours, for a light and for a dark pane; each is readable on it (4.5:1 at least).
LIGHT = (
    "#24292f", "#b42318", "#116329", "#7d5600", "#0a58ca", "#8a3ffc", "#0b6e75", "#57606a",
    "#57606a", "#c4320a", "#1a7f37", "#8a6100", "#0969da", "#a0369c", "#0f7b83", "#656d76",
)  # fmt: skip
DARK = (
    "#8b949e", "#ff7b72", "#56d364", "#e3b341", "#79b8ff", "#d2a8ff", "#56d4dd", "#d0d7de",
    "#9aa4af", "#ffa198", "#7ee787", "#f2cc60", "#a5d6ff", "#e2c5ff", "#8ddbe0", "#f0f3f6",
)  # fmt: skip

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_OTHER_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-ln-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")


def styles() -> str:
    """CSS of the classes, for an element `.pane`; dark if the page is."""

    def rules(colours: tuple[str, ...], before: str) -> str:
        text = ""
        for n, colour in enumerate(colours):
            code = n if n < 8 else 52 + n  # 30 to 37, and 90 to 97
            text += f"{before} .ansi{30 + code}{{color:{colour}}}"
            text += f"{before} .ansi{40 + code}{{background:{colour}33}}"
        return text

    fixed = ".pane .ansi1{font-weight:600}.pane .ansi2{opacity:.75}.pane .ansi3{font-style:italic}"
    fixed += ".pane .ansi4{text-decoration:underline}.pane .ansi9{text-decoration:line-through}"
    return fixed + rules(LIGHT, ".pane") + rules(DARK, ".pane.dark")


_SPAN = re.compile(r'<span class="([^"]*)">')
_MANY_COLOURS = re.compile(r"ansi([34])8-(\d+)")


def overwritten(line: str) -> str:
    """A line as a terminal leaves it: what a carriage return went back over is gone, its colours hold."""
    before, _, last = line.rstrip("\r").rpartition("\r")
    return "".join(match[0] for match in _SGR.finditer(before)) + last


def _rgb(digits: str) -> str:
    """A colour of the 256 of xterm, or of nine digits, as CSS."""
    if len(digits) == 9:
        return f"rgb({int(digits[:3])},{int(digits[3:6])},{int(digits[6:])})"
    n = int(digits)
    if n < 16:
        return DARK[n]
    if n >= 232:
        grey = 8 + 10 * (n - 232)
        return f"rgb({grey},{grey},{grey})"
    levels = [0, 95, 135, 175, 215, 255]
    red, green, blue = (levels[(n - 16) // by % 6] for by in (36, 6, 1))
    return f"rgb({red},{green},{blue})"


def _with_many_colours(span: re.Match[str]) -> str:
    """A span of the 256 or the 16 million colours, which have no class, with its colour."""
    styles = "".join(
        f"{'color' if which == '3' else 'background'}:{_rgb(digits)};"
        for which, digits in _MANY_COLOURS.findall(span[1])
        if len(digits) == 9 or int(digits) < 256
    )
    return f'<span class="{span[1]}" style="{styles}">' if styles else span[0]


class AnsiText:
    """Turns a growing text into HTML, piece by piece; a colour goes on from one piece to the next."""

    def __init__(self) -> None:
        self._converter = Ansi2HTMLConverter(inline=False, linkify=False)
        self._style = ""  # the escapes that are in force

    def convert(self, text: str) -> str:
        """HTML of whole lines."""
        lines = "\n".join(overwritten(line) for line in text.split("\n"))
        lines = _CONTROL.sub("", _OTHER_ESCAPES.sub("", lines))
        html = self._converter.convert(self._style + lines, full=False, ensure_trailing_newline=False)
        for match in _SGR.finditer(lines):
            is_reset = match[1] in {"", "0", "00"}
            self._style = "" if is_reset else (self._style + match[0])[-500:]
        return _SPAN.sub(_with_many_colours, html)
