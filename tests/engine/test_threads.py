"""Work of a thread beside what is due."""

import time

from apsis_nb.engine.threads import LOOK_S, Aside


def work(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_work_rests_until_what_comes_first_is_done() -> None:
    answers = [False, True, True]
    aside = Aside(lambda: answers.pop())
    work(100 * LOOK_S)  # so long a rest is due
    aside.rest()
    assert not answers


def test_work_goes_on_though_there_is_always_something_that_comes_first() -> None:
    aside = Aside(lambda: True)
    for _ in range(3):
        work(2 * LOOK_S)
        aside.rest()
