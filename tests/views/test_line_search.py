"""Finding lines in an output: every line once, at its place, however the bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.line_search import LineSearch


def found(data: bytes, words: str | None, step: int = 7) -> tuple[int, list[bytes]]:
    """How many lines, and the lines that the places lead to; the bytes come `step` at a time."""
    search = LineSearch(words)
    for at in range(0, len(data), step):
        search.feed(data[at : at + step], at_end=False)
    search.feed(b"", at_end=True)
    assert search.offset == len(data)
    return search.count, [data[at:].split(b"\n")[0] for at in search.places]


def test_lines_are_found_whatever_their_case_and_colours():
    data = b"one\nTwo and two\n\x1b[31mtw\x1b[0mo\nthree"

    assert found(data, "TWO") == (2, [b"Two and two", b"\x1b[31mtw\x1b[0mo"])


def test_words_beyond_ascii_are_found():
    assert found("Zürich\nWien\n".encode(), "zür") == (1, ["Zürich".encode()])


@given(st.lists(st.text(st.sampled_from("ab \r"), max_size=6), max_size=30), st.integers(1, 40))
def test_every_line_is_found_once_however_the_bytes_come(lines, step):
    data = "\n".join(lines).encode()
    wanted = [line.encode() for line in lines if "ab" in line]

    assert found(data, "ab", step) == (len(wanted), wanted)


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: disk full",
        "Traceback (most recent call last):",
        "  ValueError: no such day",
        "2026-11-30 [FATAL] out of memory",
        "java.lang.NullPointerException",
        "step 3 failed",
        "Segmentation fault (core dumped)",
    ],
)
def test_a_line_looks_like_an_error(line):
    assert found(f"fine\n{line}\nfine\n".encode(), None) == (1, [line.encode()])


@pytest.mark.parametrize(
    "line", ["0 errors, 2 warnings", "finished without error", "failed: 0", "no-errors.csv", "terror"]
)
def test_a_line_does_not_look_like_an_error(line):
    assert found(f"{line}\n".encode(), None) == (0, [])
