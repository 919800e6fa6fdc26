"""How the simulator measures a rate per minute."""

from simulator.gauges import FixedWindow, SlidingWindow


def test_a_fixed_window_lets_a_minutes_worth_in_and_begins_again_with_the_clocks_minute():
    window = FixedWindow(10, now=70.0)
    window.take(10)
    window.refill(119.0)
    assert window.wait_s(1) == 1.0
    window.refill(120.0)
    assert window.wait_s(10) == 0.0


def test_what_a_sliding_window_let_in_comes_back_a_minute_later():
    window = SlidingWindow(10, now=0.0)
    window.take(6)
    window.refill(20.0)
    window.take(4)
    window.give_back(3)
    assert window.wait_s(3) == 0.0
    assert window.wait_s(4) == 40.0
    window.refill(60.0)
    assert window.level == 9
    window.refill(80.0)
    assert window.level == 10
