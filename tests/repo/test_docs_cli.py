"""The page of the command line is what its commands say of themselves."""

from tools import cli_page


def test_the_page_is_up_to_date():
    assert cli_page.PAGE.read_text(encoding="utf-8") == cli_page.page(), "python -m tools.cli_page writes it"


def test_every_command_shows_how_it_is_used():
    sections = cli_page.page().split("\n## ")[1:]

    assert len(sections) > 35
    assert [s.splitlines()[0] for s in sections if "```sh\napsis-nb" not in s and "$(apsis-nb" not in s] == []
