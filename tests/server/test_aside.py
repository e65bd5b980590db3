"""Long questions give way to the scheduler."""

import asyncio
import os
import sys

import pytest

from apsis_nb.server.aside import NICE, Aside


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a priority is that of the whole process")
def test_only_the_thread_of_a_question_has_a_lower_priority():
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert asyncio.run(Aside(1).ask(os.getpriority, os.PRIO_PROCESS, 0)) == min(19, own + NICE)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
