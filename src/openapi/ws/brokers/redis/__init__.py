"""The broker over Redis or Valkey 7 or newer, one server or a cluster.

    SocketsManager(broker="redis://localhost:6379")

A message is one command, or one script where its channel keeps history: it is numbered, kept and
published as one act. What crosses the bus is described in :mod:`openapi.protocol.envelope`, how it
is named in :mod:`~openapi.ws.brokers.redis.names`.
"""

from openapi.ws.brokers.redis.broker import RedisBroker

__all__ = ["RedisBroker"]
