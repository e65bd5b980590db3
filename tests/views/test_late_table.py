"""The table of late runs."""

from apsis_nb.views.late_table import late_html
from tests.views.test_markup import Tags
from tests.views.test_run_page import facts_of


def test_a_late_run_says_by_how_much_and_why():
    page = late_html([facts_of(late=True, late_s=250.0, late_why="condition")])

    assert "late 4 m 10 s" in page
    assert "condition" in page
    assert 'data-href="run?id=r7"' in page


def test_a_run_that_has_not_started_still_waits():
    assert "still waits" in late_html([facts_of("waiting", late=True, late_s=90.0)])


def test_that_nothing_was_late_is_told_in_words():
    assert "started on time" in Tags(late_html([])).words
