"""A piece of a page: where it is empty it takes no room."""

from apsis_nb.views.board import Board


def test_an_empty_one_takes_no_room():
    board = Board()
    assert not board.visible

    board.content = "<p>words</p>"
    assert board.visible
    board.content = ""
    assert not board.visible


def test_one_that_is_shown_or_hidden_by_its_page_stays_so():
    shown, hidden = Board(visible=True), Board("<p>words</p>", visible=False)
    shown.content, hidden.content = "", "<p>other words</p>"

    assert shown.visible
    assert not hidden.visible
