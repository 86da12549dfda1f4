"""One caller at a time asks what did not answer."""

import threading

import pytest

from core.outage import Gate, StillAway


@pytest.fixture
def gate():
    return Gate()


def test_it_lets_everybody_through_while_all_is_well(gate):
    with gate.passing(), gate.passing(), gate.passing():
        assert not gate.is_suspected


def test_after_a_silence_one_at_a_time_may_ask(gate):
    gate.note(good=False)

    with gate.passing():
        with pytest.raises(StillAway), gate.passing():
            pass

    with gate.passing():
        pass


def test_it_opens_with_the_first_answer(gate):
    gate.note(good=False)
    with gate.passing():
        gate.note(good=True)
        with gate.passing():
            pass


def test_who_fails_inside_leaves_the_place_to_the_next(gate):
    gate.note(good=False)
    with pytest.raises(ZeroDivisionError), gate.passing():
        1 / 0

    with gate.passing():
        pass


def test_of_twenty_threads_one_asks_and_nobody_waits(gate):
    gate.note(good=False)
    start, done = threading.Barrier(20), threading.Barrier(20)
    asked: list[bool] = []

    def ask() -> None:
        start.wait(timeout=30)
        try:
            with gate.passing():
                asked.append(True)
                done.wait(timeout=30)
        except StillAway:
            asked.append(False)
            done.wait(timeout=30)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(asked) == [False] * 19 + [True]
