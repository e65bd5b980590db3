"""Fields for the args of a run: each as its type wants it, and only what was changed is asked for."""

from apsis_nb.views.arg_fields import args_of, changed, fields_html
from tests.views.test_markup import Tags

PARAMS = {
    "date": {"type": "date", "description": "The <b>day</b>."},
    "kind": {"type": "choice", "choices": ["short", "full"], "default": "full"},
    "dry": {"type": "bool", "default": "false"},
    "count": {"type": "int"},
}


def test_each_type_has_its_field():
    page = fields_html(PARAMS, {"date": "2026-11-30", "kind": "short", "count": "3"})

    assert 'type="date" name="arg:date" value="2026-11-30"' in page
    assert "<option selected>short</option>" in page
    assert "<option selected>false</option>" in page
    assert 'inputmode="numeric"' in page
    assert "b" not in Tags(page).tags


def test_what_no_longer_fits_its_type_can_be_seen_and_changed():
    page = fields_html(PARAMS, {"date": "yesterday", "kind": "long", "gone": "x"})

    assert 'name="arg:date" value="yesterday"' in page
    assert 'name="arg:kind" value="long"' in page
    assert 'name="arg:gone" value="x"' in page


def test_only_what_differs_is_asked_for():
    form = {"arg:date": "2026-12-01", "arg:kind": "full", "arg:dry": "true", "arg:count": "", "test": "on"}

    said = args_of(form)
    assert changed(said, PARAMS, {"date": "2026-11-30", "kind": "full"}) == {
        "date": "2026-12-01",
        "dry": "true",
    }
