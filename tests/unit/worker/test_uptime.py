"""Answers that follow each other closely are one time of service, anything else is a gap."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.maintenance.uptime import Uptime

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def s(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def up(*answers: float) -> Uptime:
    uptime = Uptime(longest_gap=timedelta(seconds=5))
    for answer in answers:
        uptime.answered(s(answer))
    return uptime


def test_before_its_first_answer_it_knows_nothing():
    assert up().since(NOW) is None


def test_answers_in_close_order_are_one_time():
    assert up(0, 3, 6, 11, 12).since(s(13)) == NOW


def test_what_is_asked_a_little_before_the_last_answer_is_told_all_the_same():
    assert up(0, 3).since(s(2.9)) == NOW


@pytest.mark.parametrize("pause", [5.1, 3600.0])
def test_a_long_pause_between_two_answers_begins_anew(pause: float):
    assert up(0, 3, 3 + pause, 4 + pause).since(s(5 + pause)) == s(3 + pause)


def test_a_silence_that_lasts_may_be_a_gap_for_whoever_asks_before_the_next_answer():
    uptime = up(0, 3)
    assert uptime.since(s(8)) == NOW
    assert uptime.since(s(8.1)) is None


@pytest.mark.parametrize("moved", [-3600.0, 3600.0])
def test_a_clock_that_is_moved_is_a_gap(moved: float):
    uptime = up(0, 3)
    assert uptime.since(s(4 + moved)) is None
    uptime.answered(s(4 + moved))
    assert uptime.since(s(4 + moved)) == s(4 + moved)
