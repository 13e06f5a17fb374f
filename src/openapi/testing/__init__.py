"""What tests of an endpoint need: clients without a port, faults, nodes, a clock that jumps.

    @virtual_time
    async def test_who_adds_a_task_is_not_the_only_one_to_see_it() -> None:
        async with serve(create_app()) as server:
            async with server.connect("/stream") as ada, server.connect("/stream") as grace:
                await grace.join("tasks")
                await ada.call("add", {"title": "tea"})
                await grace.expect("tasks", "added")
                await grace.expect_nothing("tasks")

Nothing is imported before it is used: pytest loads the plugin, which is in this package, whatever
it is to test.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from openapi.testing.client import SocketClient
    from openapi.testing.clock import run, virtual_time
    from openapi.testing.direction import Direction
    from openapi.testing.link import Link
    from openapi.testing.nodes import Cluster, Node, cluster
    from openapi.testing.server import Server, serve, socket_client
    from openapi.testing.sessions import MadeCall, SessionEnd, SessionPair, session_pair
    from openapi.testing.virtual_loop import ScenarioError

__all__ = [
    "Cluster",
    "Direction",
    "Link",
    "MadeCall",
    "Node",
    "ScenarioError",
    "Server",
    "SessionEnd",
    "SessionPair",
    "SocketClient",
    "cluster",
    "run",
    "serve",
    "session_pair",
    "socket_client",
    "virtual_time",
]

_HOMES: Final = {
    "client": ["SocketClient"],
    "clock": ["run", "virtual_time"],
    "direction": ["Direction"],
    "link": ["Link"],
    "nodes": ["Cluster", "Node", "cluster"],
    "server": ["Server", "serve", "socket_client"],
    "sessions": ["MadeCall", "SessionEnd", "SessionPair", "session_pair"],
    "virtual_loop": ["ScenarioError"],
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
