"""Times are written in one place: no module has a form of its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = "apsis_nb/core/times.py"
#: Files with one form of their own, and why.
ALLOWED = {
    "apsis_nb/views/sql_box.py": "pandas writes the times of a CSV file, in the form of `format_time`",
    "apsis_nb/server/log.py": "the logging library writes it; each line of a log is as wide as the others",
}
#: Programs of the demo are a user's, who need not know our modules.
DEMO = "apsis_nb/demo/jobs/"
PATTERN = re.compile(r"%[YHMbBaAZ]\b|%[YHMSmd]%|%[YHM][-:/]")


def sources() -> list[Path]:
    found = [*(ROOT / "apsis_nb").rglob("*.py"), *(ROOT / "dashboards").glob("*.py")]
    return [p for p in found if not str(p.relative_to(ROOT)).startswith((HOME, DEMO))]


def own_forms(text: str) -> Iterator[int]:
    """The lines of a module that write a time in a form of their own."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = list(ast.walk(tree))
    docs = {id(n.body[0].value) for n in nodes if isinstance(n, documented) and ast.get_docstring(n)}
    for node in nodes:
        match node:
            case ast.Attribute(attr="strftime" | "isoformat" | "ctime" | "asctime"):
                yield node.lineno
            case ast.FormattedValue(format_spec=ast.JoinedStr(values=[ast.Constant(value=str(spec)), *_])):
                if re.search("%[a-zA-Z]", spec):
                    yield node.lineno
            case ast.Constant(value=str(words)) if id(node) not in docs and PATTERN.search(words):
                yield node.lineno


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ('f"{at:%Y-%m-%d}"', True),
        ('f"{at:%Z}"', True),
        ('at.strftime("%H")', True),
        ("at.isoformat()", True),
        ('format(at, "%H:%M")', True),
        ('datetime.fromisoformat("2026-01-31")', False),
        ('f"{part:.0%}"', False),
        ('log.info("%d of %s", 1, 2)', False),
        ("format_time(at)", False),
    ],
)
def test_a_form_of_its_own_is_found(line: str, is_one: bool):
    assert bool(list(own_forms(line))) is is_one


def test_no_module_has_a_form_of_its_own():
    found = {str(p.relative_to(ROOT)): list(own_forms(p.read_text())) for p in sources()}

    assert {name: lines for name, lines in found.items() if lines and name not in ALLOWED} == {}
    assert [name for name in ALLOWED if len(found[name]) != 1] == [], "nothing more, and nothing that is gone"
