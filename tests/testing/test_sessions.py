"""Two sessions, and no loop."""

from dataclasses import dataclass

import pytest

from openapi.errors import ConnectionClosed, DeclarationError
from openapi.protocol.incoming import CallState, Stop
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.testing import SessionPair, session_pair
from openapi.ws import WsPathMixin, ws_rpc


@dataclass
class Numbers:
    a: int
    b: int


class Calculator(WsPathMixin):
    async def ws_rpc_add(self, payload: Numbers) -> int:
        return payload.a + payload.b

    @ws_rpc(lane=True)
    async def ws_rpc_slowly(self, payload: Numbers) -> int:
        return payload.a + payload.b


class Shown:
    async def ws_rpc_show(self, payload: Numbers) -> None:
        """Show them."""


@pytest.fixture(params=["json", "msgpack"])
def pair(request: pytest.FixtureRequest) -> SessionPair:
    return session_pair(Calculator, Shown, encoding=request.param)


def test_a_call_and_its_answer(pair: SessionPair) -> None:
    packed = pair.server.session.codec.packed
    made, call = pair.call("add", {"a": 1, "b": 2})
    assert call.payload == Numbers(1, 2)
    pair.server.session.answer(call, call.method.encode(3, packed=packed))
    assert pair.client.decode(made.ended[0]) == 3
    assert pair.client.freed == 1


def test_what_is_said_is_there_to_be_read() -> None:
    pair = session_pair(Calculator)
    pair.client.ask("add", {"a": 1, "b": 2}, timeout=500)
    assert pair.client.said() == [
        {"id": 1, "method": "add", "payload": {"a": 1, "b": 2}, "timeout": 500}
    ]
    assert pair.client.said() == []


def test_the_server_calls_its_client(pair: SessionPair) -> None:
    made = pair.server.ask("show", {"a": 1, "b": 2})
    call = pair.client.taken()
    pair.client.session.answer(call, pair.client.encode(None))
    assert pair.server.decode(made.ended[0]) is None


def test_a_client_serves_nothing_unless_it_is_said() -> None:
    pair = session_pair(MethodTable({}), limits=Limits(calls=1))
    made = pair.server.ask("show")
    assert "show" in str(made.ended[0])
    with pytest.raises(ValueError, match="not enough values"):
        pair.client.taken()


def test_what_is_under_way_may_cross_or_be_lost() -> None:
    pair = session_pair(Calculator)
    with pair.client.slowly() as under_way:
        made = pair.client.ask("slowly", {"a": 1, "b": 2})
        lost = pair.client.ask("slowly", {"a": 3, "b": 4})
        under_way.pop()
    call = pair.server.taken()
    assert call.state is CallState.RUNNING
    pair.client.pending.abandon(made.asked)
    [stop] = pair.server.events
    assert isinstance(stop, Stop)
    assert stop.call is call
    with pytest.raises(AssertionError, match="is no call"):
        pair.server.taken()
    pair.client.session.close(1006)
    assert isinstance(lost.ended[0], ConnectionClosed)


def test_methods_that_cannot_be_any_are_refused() -> None:
    class Wrong:
        def ws_rpc_x(self, payload: Numbers) -> None:
            """It is no coroutine function."""

    with pytest.raises(DeclarationError):
        session_pair(Wrong)
