"""Writes docs/cli.md from the commands: `python -m tools.cli_page`. A test holds the page to the code."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from typer import Context, Typer
from typer.core import TyperCommand
from typer.main import get_command

from apsis_nb.cli.app import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
#: Stands in the page above the commands; what is above it is written by hand.
MARK = "<!-- `python -m tools.cli_page` writes what follows from the help of the commands. -->\n"


def page() -> str:
    """The whole page: its head as it is, the commands as they are now."""
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return "\n".join([head + MARK, *_sections(app, "apsis-nb")])


def _sections(group: Typer, name: str) -> Iterator[str]:
    """The commands of a group, in the order of its help."""
    whole = get_command(group)
    context = Context(whole, info_name=name)
    for title in whole.list_commands(context):
        command = whole.get_command(context, title)
        if hasattr(command, "list_commands"):
            (below,) = (g.typer_instance for g in group.registered_groups if g.name == title)
            yield from _sections(below, f"{name} {title}")
            continue
        yield _section(command, Context(command, info_name=title, parent=context), f"{name} {title}")


def _section(command: TyperCommand, context: Context, name: str) -> str:
    text, _, examples = inspect.cleandoc(command.help).replace("\b\n", "").partition("\nExample")
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = [p.get_help_record(context) for p in command.get_params(context)]
    title = name.removeprefix("apsis-nb ")
    lines = [f"## {title}", "", text.strip(), "", "```", " ".join(usage.split()), "```", ""]
    told = [(names, " ".join(words.split())) for names, words in filter(None, records)]
    told = [(names, words) for names, words in told if "--help" not in names]
    if told:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{_cell(names)}` | {_cell(words)} |" for names, words in told]
        lines.append("")
    if examples:
        _, _, shown = examples.partition("\n")
        lines += ["```sh", inspect.cleandoc(shown), "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text for a table, without the names of Python's types."""
    return re.sub(r" <[^|>]*>", "", text).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} is written\n")
