"""Messages that wait for the answer to the call that subscribed to them."""

from openapi.ws.hold import Hold


def test_a_channel_that_nothing_holds_keeps_nothing() -> None:
    hold = Hold()
    assert not hold
    assert not hold.keep("c", b"1")
    hold.begin("c", "call")
    assert hold
    assert not hold.keep("d", b"1")


def test_what_was_kept_goes_out_in_order_when_the_call_has_ended() -> None:
    hold = Hold()
    hold.begin("c", "call")
    assert hold.keep("c", b"one")
    assert hold.keep("c", b"two")
    assert hold.size == 6
    assert hold.end("call") == [b"one", b"two"]
    assert (hold.size, bool(hold)) == (0, False)


def test_two_calls_that_hold_one_channel_both_end_first() -> None:
    hold = Hold()
    hold.begin("c", "first")
    hold.begin("c", "second")
    hold.begin("c", "second")
    hold.keep("c", b"1")
    assert hold.end("first") == []
    assert hold.end("stranger") == []
    assert hold.end("second") == [b"1"]


def test_a_call_may_hold_several_channels() -> None:
    hold = Hold()
    for channel in ("c", "d"):
        hold.begin(channel, "call")
        hold.keep(channel, channel.encode())
    assert hold.end("call") == [b"c", b"d"]


def test_what_is_dropped_is_gone_and_its_channel_is_held_all_the_same() -> None:
    hold = Hold()
    hold.begin("c", "call")
    hold.keep("c", b"1")
    hold.drop()
    assert hold.size == 0
    assert hold.keep("c", b"2")  # it must not overtake the answer
    assert hold.end("call") == []
