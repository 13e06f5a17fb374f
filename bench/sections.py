"""What the report tells of: who is compared, and the workloads in their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["OPPONENTS", "OURS", "SECTIONS", "Opponent", "Section"]

OURS: Final = "ours"


@dataclass(frozen=True, slots=True)
class Opponent:
    """What is compared with: ``package`` is the name that its version is under."""

    title: str
    package: str
    what: str


OPPONENTS: Final[Mapping[str, Opponent]] = {
    OURS: Opponent(
        "aio-openapi, this version",
        "",
        "dataclasses in and out, both **validated**; `Subscribe` and `Publish`",
    ),
    "aiohttp": Opponent(
        "aiohttp by hand",
        "aiohttp",
        "text as bytes (`decode_text=False`, `send_frame`); fan-out by a loop over `send_frame`;"
        " nothing is validated",
    ),
    "picows": Opponent(
        "picows by hand",
        "picows",
        "a listener that answers at once, without a task or a coroutine; fan-out by a loop over"
        " `send`; nothing is validated",
    ),
    "websockets": Opponent(
        "websockets by hand",
        "websockets",
        "text as bytes (`recv(decode=False)`); fan-out by `broadcast`; nothing is validated",
    ),
    "python-socketio": Opponent(
        "python-socketio",
        "python-socketio",
        "on aiohttp, events with acknowledgements and rooms; nothing is validated",
    ),
    "fastapi-websocket-rpc": Opponent(
        "fastapi-websocket-rpc",
        "fastapi-websocket-rpc",
        "on uvicorn; pydantic validates the order and the receipt; no fan-out",
    ),
    "aiohttp-rpc": Opponent(
        "aiohttp-rpc",
        "aiohttp-rpc",
        "JSON-RPC on aiohttp; parameters are bound to a signature; no fan-out",
    ),
    "aio-openapi 3.2.1": Opponent(
        "aio-openapi 3.2.1",
        "",
        "the last release before this one was written anew; its schemas validate",
    ),
    "Node ws": Opponent(
        "ws for Node.js by hand",
        "ws",
        "fan-out by a loop over `send` with one buffer; nothing is validated",
    ),
    "Socket.IO": Opponent(
        "Socket.IO for Node.js",
        "socket.io",
        "events with acknowledgements and rooms; nothing is validated",
    ),
}


@dataclass(frozen=True, slots=True)
class Section:
    """The workloads whose ids begin with one of ``ids``, and what is to be said of them.

    ``plots`` belong here: what each shows, by name. Those in ``columns`` share one table, with
    these heads; each of the others has one of its own.
    """

    heading: str
    ids: tuple[str, ...]
    about: str
    plots: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


SECTIONS: Final = (
    Section(
        "Typed RPC",
        ("rpc-",),
        "50 connections call a method with an order of about 100 bytes and get a receipt. With 1 in"
        " flight, each call waits for the answer to the one before; with 16, a connection has so"
        " many calls under way, and servers may join what they read and write.",
        {"rpc": "Server CPU per call, by server, with 1 and with 16 calls in flight"},
    ),
    Section(
        "Fan-out",
        ("fan-out-",),
        "One connection publishes messages with 100 bytes of data, and all others are subscribed."
        " *Isolated*: the next message is published when the last one has reached everybody. *8 in"
        " flight*: eight publishes are under way. The figure is the CPU of the server divided by"
        " the number of messages that subscribers got.",
        {"fan-out": "Server CPU per delivery, by server, isolated and with 8 publishes in flight"},
    ),
    Section(
        "Fan-out past other patterns",
        ("patterns-",),
        "The same to 500 subscribers, on a channel on which others are subscribed to so many"
        " patterns that do not fit.",
    ),
    Section("Connecting", ("connect",), "A handshake, and one `subscribe`."),
    Section(
        "Memory",
        ("memory-",),
        "What one more idle connection with one subscription costs: the slope, from 500 to 10,000"
        " connections, of the memory of the process, where what it shares with others counts in"
        " part (PSS). What the kernel holds for a socket is not in it; garbage that the server has"
        " not collected yet is.",
        {"memory": "Memory per idle connection with one subscription, by server"},
    ),
    Section(
        "Many connections",
        ("hold-", "gc-"),
        "Connections held at once; and one full collection by the garbage collector, which walks"
        " all that there is but what `gc.freeze` has set aside. Frozen with the connections it has"
        " next to nothing left to walk. An application that freezes once, when it starts, has the"
        " other figure: of the connections that came since.",
    ),
    Section(
        "Latency at half load",
        ("latency-",),
        "Messages to 1,000 subscribers are published on a fixed schedule, whatever becomes of the"
        " ones before, at a rate that takes half of the server's core: each server has a rate of"
        " its own. The time, in ms, is from the moment that a message was *due* to be published to"
        " the moment that a subscriber has it.",
        {"latency": "Time from publishing to delivery, by server and percentile"},
        {f"latency-1000-{name}": name for name in ("p50", "p99", "p99.9", "max")},
    ),
    Section(
        "Recovery",
        ("recovery-",),
        "Clients that were cut off come back at the same moment, and each gets what it missed, from"
        " the memory of the process. A reading is one that takes messages from the stream; to ask"
        " how far the stream has come takes none, and is not counted. The time is on the clock,"
        " from the first request to the last answer.",
    ),
    Section(
        "Over Redis",
        ("redis-",),
        "Messages are published at one node and delivered by another, with Valkey between them,"
        " which speaks the protocol of Redis. CPU is in µs: of the other node for each delivery, of"
        " the first and of Valkey for each message. The delay, in ms, is at a fixed rate, from the"
        " moment that a message was due.",
        columns={
            "redis-node": "CPU, delivery",
            "redis-node-publish": "CPU, publish",
            "redis-node-valkey": "CPU, Valkey",
            "redis-node-throughput": "deliveries a second",
            "redis-node-p50": "delay p50",
            "redis-node-p99": "delay p99",
        },
    ),
    Section(
        "What the load can do",
        ("headroom-",),
        "The rate of the load with a server that answers with prepared bytes, divided by its rate"
        " with this project's server. That server has its own system calls to pay for: the load by"
        " itself is faster than this.",
    ),
    Section(
        "A slow reader",
        ("slow-reader",),
        "One of the subscribers stops reading. What that costs the others is the time until their"
        " messages come, before and while it happens.",
    ),
    Section(
        "Workers",
        ("workers",),
        "`openapi serve --workers` with typed RPC, on all cores, which the load has, too. CPU is in"
        " µs per call.",
        columns={
            "workers": "CPU, workers",
            "workers-load": "CPU, load",
            "workers-rate": "calls a second",
            "workers-cores": "cores that they had",
        },
    ),
    Section("Besides", ("",), "What else was measured."),
)
