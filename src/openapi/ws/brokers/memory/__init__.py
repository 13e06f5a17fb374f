"""The broker of one process: what is published is delivered at once, and kept while it lives.

    broker = MemoryBroker()
    node, other = SocketsManager(broker=broker), SocketsManager(broker=broker.sibling())

Siblings share one memory, as brokers of several processes share a server. It goes with the last of
them, whether they are open or not: a manager that is made anew with a sibling goes on where the
one before it ended.

Everything in it has a bound. Of more channels with history than there is room for, the one that was
used least recently is forgotten, which is a lost stream to its subscribers; those that never had a
message go before those that had, and those that nobody is subscribed to before others. Of more
bytes than there is room for, messages of other channels go before those of the one that is written
to: their streams live on, with the same epoch. Of more keys than there is room for, the next is
refused.
"""

from openapi.ws.brokers.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
