"""The client without an event loop, with servers in a thread of their own."""

import asyncio
import gc
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.client import Backoff, ClientState, PositionLost, Status
from openapi.client.loop_thread import LoopThread
from openapi.client.sync import Client, connect
from openapi.errors import CallFailed, ConnectionClosed
from tests.client.servers import Add, Endpoint, Keeping, Sum, application

DEADLINE = 10.0


class Server:
    """An application, in a thread of its own."""

    def __init__(self, app: web.Application) -> None:
        self.app = app
        self.thread = LoopThread("server")
        self.runner = web.AppRunner(app)
        self.thread.run(self.runner.setup())
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        self.thread.run(site.start())
        self.url = URL(f"ws://127.0.0.1:{self.runner.addresses[0][1]}/stream")

    def close(self) -> None:
        """Shut it down."""
        self.thread.run(self.runner.cleanup())
        self.thread.close()


async def made(make: Any) -> Any:
    """Something done in a server's thread."""
    return make()


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(application())
    yield served
    served.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with connect(server.url) as client:
        yield client


def test_a_call_returns_as_the_type_asked_for(client: Client) -> None:
    assert client.call("add", Add(1, 2), returns=Sum) == Sum(3)
    assert client.call("echo", {"a": 1}) == {"a": 1}


def test_a_refusal_and_a_timeout_are_raised(client: Client) -> None:
    with pytest.raises(CallFailed, match="no"):
        client.call("fail")
    with pytest.raises(TimeoutError, match="'wait' was not answered within 0.05 seconds"):
        client.call("wait", timeout=0.05)


def test_a_notification_is_sent(client: Client) -> None:
    client.notify("note", {"n": 1})
    assert client.call("echo") == {}
    assert Endpoint.noted.get_nowait() == {"n": 1}


def test_messages_are_iterated_and_waited_for(client: Client) -> None:
    with client.subscribe("host", "c*", type=int) as messages:
        assert client.publish("host", "cpu", 1) is None
        client.publish("host", "cpu", 2)
        assert messages.get(timeout=DEADLINE).data == 1
        assert next(iter(messages)).data == 2
        with pytest.raises(TimeoutError, match="nothing came on 'host' within 0.01 seconds"):
            messages.get(timeout=0.01)
        assert (messages.position, messages.recovered, messages.dropped) == (None, None, 0)
    assert list(messages) == []
    with pytest.raises(EOFError, match="the subscription to 'host' was left"):
        messages.get()


def test_a_stream_is_iterated_to_its_end_and_left_before(client: Client) -> None:
    flow = client.stream("flow", {"times": 3, "size": 2}, type=str)
    assert list(flow) == ["xx"] * 3
    assert flow.response is None
    with client.stream("flow", {"times": 10_000, "size": 1000}) as items:
        assert next(items) == "x" * 1000
    client.stream("flow", {"times": 1, "size": 1}).close()


def test_plain_functions_serve_and_may_block_and_call_the_server(client: Client) -> None:
    def double(payload: Add) -> Sum:
        return client.call("add", payload, returns=Sum)

    async def triple(payload: dict[str, Any]) -> int:
        return 3 * int(payload["n"])

    take_back = client.serve("double", double)
    client.serve("triple", triple)
    asked = {"method": "double", "payload": {"a": 1, "b": 2}}
    assert client.call("ask", asked) == {"sum": 3}
    assert client.call("ask", {"method": "triple", "payload": {"n": 2}}) == 6
    take_back()
    with pytest.raises(CallFailed, match="double method not available"):
        client.call("ask", asked)


def test_history_presence_and_positions_are_those_of_the_other_client() -> None:
    keeping = Keeping()
    server = Server(keeping.app)
    with connect(server.url.with_query(user="ann"), encoding="msgpack") as client:
        with client.subscribe("room", type=int) as messages:
            position = client.publish("room", "n", 1)
            assert messages.get(timeout=DEADLINE).position == position == messages.position
            assert [member.user for member in client.presence("room")] == ["ann"]
        assert [each.data for each in client.history("room", type=int).messages] == [1]
    server.close()


def test_it_comes_back_and_reads_what_it_missed() -> None:
    keeping = Keeping()
    server = Server(keeping.app)
    states: queue.Queue[Status] = queue.Queue()
    with connect(server.url, reconnect=Backoff(first=0.01), on_state=states.put_nowait) as client:
        renewed: queue.Queue[Any] = queue.Queue()
        with client.subscribe("c", type=int, on_renewed=renewed.put_nowait) as messages:
            server.thread.run(keeping.publish("c", 1, 2))
            assert messages.get(timeout=DEADLINE).data == 1
            server.thread.run(made(keeping.cut))
            server.thread.run(keeping.publish("c", 3))
            assert renewed.get(timeout=DEADLINE).recovered is True
            assert [messages.get(timeout=DEADLINE).data for _ in range(2)] == [2, 3]
            seen = [states.get(timeout=DEADLINE).state for _ in range(4)]
            assert seen == [
                ClientState.OPEN,
                ClientState.WAITING,
                ClientState.CONNECTING,
                ClientState.OPEN,
            ]
            assert (client.state, client.status.reason, client.closed) == (seen[-1], None, None)
            client.hurry()
            server.thread.run(made(lambda: keeping.archive.forget("c")))
            server.thread.run(keeping.publish("c", 4))
            with pytest.raises(PositionLost):
                messages.get(timeout=DEADLINE)
            assert messages.get(timeout=DEADLINE).data == 4
    server.close()


def test_what_waits_in_another_thread_ends_when_it_is_closed(server: Server) -> None:
    client = connect(server.url)
    outcomes: queue.Queue[object] = queue.Queue()

    def wait() -> None:
        try:
            client.call("wait", timeout=None)
        except ConnectionClosed as exc:
            outcomes.put(exc.may_have_run)

    def read() -> None:
        with client.subscribe("host") as messages:
            reading.set()
            outcomes.put(list(messages))

    reading = threading.Event()
    threads = [threading.Thread(target=each) for each in (wait, read)]
    for thread in threads:
        thread.start()
    assert reading.wait(DEADLINE)
    server.thread.run(Endpoint.waiting.wait())
    client.close()
    client.close()
    got = [outcomes.get(timeout=DEADLINE) for _ in threads]
    assert sorted(got, key=str) == [True, []]
    for thread in threads:
        thread.join()
    with pytest.raises(ConnectionClosed, match="this client is closed"):
        client.call("echo")


def test_ctrl_c_ends_the_wait_and_the_server_is_told(client: Client, server: Server) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        server.thread.run(Endpoint.waiting.wait())
        signal.pthread_kill(main, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        client.call("wait")
    interrupting.join()
    assert server.thread.run(Endpoint.ended.get()) is asyncio.CancelledError
    assert client.call("echo", {"n": 1}) == {"n": 1}


def test_a_callback_that_would_wait_for_its_own_thread_is_told_so(server: Server) -> None:
    faults: queue.Queue[str] = queue.Queue()
    holder: list[Client] = []

    def call(status: Status) -> None:
        if status.state is ClientState.CLOSED:
            try:
                holder[0].call("echo")
            except RuntimeError as exc:
                faults.put(str(exc))

    with connect(server.url, on_state=call) as client:
        holder.append(client)
    assert "a callback of the client may not wait for the client" in faults.get(timeout=DEADLINE)


def test_a_server_that_is_not_there_is_told_and_leaves_no_thread(unused_tcp_port: int) -> None:
    before = threading.active_count()
    with pytest.raises(ConnectionClosed, match="Connection refused"):
        connect(f"ws://127.0.0.1:{unused_tcp_port}/")
    assert threading.active_count() == before


def test_a_client_that_nobody_has_any_more_is_closed(server: Server) -> None:
    client = connect(server.url)
    thread = client._thread._thread
    del client
    gc.collect()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_a_client_lasts_as_long_as_what_is_read_by_it(server: Server) -> None:
    with connect(server.url).subscribe("host", type=int) as messages:
        gc.collect()
        with connect(server.url) as other:
            other.publish("host", "cpu", 1)
        assert messages.get(timeout=DEADLINE).data == 1
    items = connect(server.url).stream("flow", {"times": 3, "size": 2})
    gc.collect()
    assert list(items) == ["xx"] * 3


def test_what_is_left_behind_the_client_has_been_left_already(server: Server) -> None:
    with connect(server.url) as client:
        items = client.stream("flow", {"times": 10_000, "size": 1000})
        next(items)
        with client.subscribe("host") as messages:
            client.close()
            assert list(messages) == []
        items.close()
        with pytest.raises(ConnectionClosed):
            next(items)


def said_by(script: str, url: URL) -> str:
    """What a process says that runs a script; it may not take long, nor complain."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(url)], capture_output=True, text=True, timeout=DEADLINE
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


_LEFT_OPEN = """
import sys
from openapi.client.sync import connect

class Kept:
    def __init__(self):
        self.client = connect(sys.argv[1])
        self.messages = self.client.subscribe("host").__enter__()
        self.itself = self

    def __del__(self):
        self.client.close()
        print("deleted")

kept, client = Kept(), connect(sys.argv[1])
print(client.call("echo", {"n": 1}))
"""


def test_a_program_ends_though_it_has_closed_nothing(server: Server) -> None:
    assert said_by(_LEFT_OPEN, server.url) == "{'n': 1}\ndeleted\n"


_FORKED = """
import gc, os, sys, warnings
from openapi.client.sync import connect

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where there are threads
client, abandoned = connect(sys.argv[1]), connect(sys.argv[1])
with client:
    child = os.fork()
    if child == 0:
        del abandoned
        gc.collect()
        try:
            client.call("echo")
        except RuntimeError as exc:
            print(exc, flush=True)
    else:
        os.waitpid(child, 0)
        print(client.call("echo", {"n": 1}))
"""


def test_a_client_is_of_no_use_in_a_process_that_was_forked(server: Server) -> None:
    told, answer = said_by(_FORKED, server.url).splitlines()
    assert told.endswith("was forked; connect in the process that uses the client")
    assert answer == "{'n': 1}"


def test_it_can_be_waited_for_until_it_is_open_or_closed(server: Server) -> None:
    with connect(server.url, wait_open=False) as client:
        client.wait_open(timeout=DEADLINE)
        assert client.state is ClientState.OPEN
        with pytest.raises(TimeoutError, match="it is not closed within 0.01 seconds"):
            client.wait_closed(timeout=0.01)


def test_a_session_of_another_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="a session is of its own event loop"):
        connect("ws://localhost/", session=object())
