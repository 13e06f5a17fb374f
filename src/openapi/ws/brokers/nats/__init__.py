"""The broker over NATS: messages over its subjects, and what is kept in JetStream.

    manager = SocketsManager(broker="nats://host:4222")

It keeps history as messages of a few streams, which the server hands on itself as it stores them:
one act. See ``names.py`` for what is where, ``link.py`` for the connection, ``logs.py`` for
history, ``once.py`` for keys without it, ``rosters.py`` for presence, ``server.py`` for what keeps
all of it up.

Plain messages of several nodes may come in different orders in different nodes: each server of NATS
hands on what it gets as it gets it, and nobody numbers it. Those with a position have one order.
"""

from openapi.ws.brokers.nats.broker import NatsBroker

__all__ = ["NatsBroker"]
