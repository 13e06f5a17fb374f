"""One connected socket, as its endpoint's methods see it: ``self``."""

import logging
from collections.abc import Hashable
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from openapi.errors import RpcError
from openapi.rpc.running import current

if TYPE_CHECKING:
    from openapi.ws.channels import Channels
    from openapi.ws.connection import Connection
    from openapi.ws.manager import SocketsManager

__all__ = ["Websocket"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Websocket:
    """One connected socket: an instance of the endpoint class, as long as the connection lasts."""

    socket_id: str = ""
    """A random name of the connection, that nobody can guess."""
    started: float = 0.0
    """When it was accepted: seconds since the epoch."""
    __user: Hashable = None

    def __str__(self) -> str:
        return self.socket_id

    @cached_property
    def connection(self) -> "Connection":
        """The connection itself. Raises RuntimeError before it is accepted."""
        raise RuntimeError(
            f"{type(self).__qualname__} has no connection: nothing can be sent before it is"
            " accepted, which is before on_connect"
        )

    @property
    def sockets(self) -> "SocketsManager":
        """The manager of this socket."""
        raise TypeError(f"{type(self).__qualname__} is no endpoint: derive it from WsPathMixin")

    @property
    def channels(self) -> "Channels":
        """The channels of this process."""
        return self.sockets.channels

    @cached_property
    def state(self) -> SimpleNamespace:
        """Anything that the application keeps for this connection: ``self.state.cart = []``."""
        return SimpleNamespace()

    @property
    def user(self) -> Hashable:
        """Who it is, as the application says: what :meth:`SocketsManager.call` finds it by.

        None, the default, is nobody. Set it in :meth:`on_connect`, or whenever it is known; then
        :meth:`reauthorize` asks whether the new one may have what the old one had.
        """
        return self.__user

    @user.setter
    def user(self, user: Hashable) -> None:
        old, self.__user = self.__user, user
        try:
            self.sockets.rename(self, old, user)
        except BaseException:  # it is not hashable, or its presence_info failed
            self.__user = old
            raise

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline of the call that the current task runs; None without one."""
        running = current()
        return None if running is None else running.remaining

    async def on_connect(self) -> None:
        """Called when the connection is open, before any of its calls is run. Does nothing.

        An RpcError refuses the connection, with its message as the reason: one of
        ``NOT_AUTHENTICATED`` closes it with 4500, of ``NOT_ALLOWED`` with 4501, any other with
        4504. Cancelled if the connection ends meanwhile.
        """

    async def on_disconnect(self, code: int) -> None:
        """Called when the connection is gone, with its close code. Does nothing.

        Only behind an :meth:`on_connect` that returned. Nothing can be sent any more.
        """

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        """Called before a client has anything of a channel; True, the default, allows it.

        ``action`` is what it wants: ``subscribe`` to the events that fit the pattern ``event``, to
        ``publish`` the event, to read the ``history`` (``event`` is ``*``, and it is the same where
        a subscription recovers what was missed), or to know of the ``presence`` of others
        (``event`` is empty). Anything but True refuses with -32002; an RpcError does with its own.
        """
        return True

    async def reauthorize(self) -> list[str]:
        """Ask :meth:`authorize` anew for each subscription, as when :attr:`user` has changed.

        Where ``authorize`` fails, that is a no. The client is told ``$unsubscribed`` of those that
        are refused. Returns their channels.
        """
        deliveries = self.connection.deliveries
        deliveries.rights += 1  # what is on its way to subscribe asks anew, too
        return await self.channels.reauthorize(deliveries, self.allows)

    async def allows(self, action: str, channel: str, event: str) -> bool:
        """What :meth:`authorize` says; it is a no where it fails."""
        try:
            return await self.authorize(action, channel, event) is True
        except RpcError:
            return False
        except Exception:
            # There may be more to ask for, and none of it shall stay for this.
            logger.exception("authorize failed for socket %s: it is a no", self)
            return False

    def presence_info(self, channel: str) -> Any:
        """What others on a channel with presence may know of this one, besides :attr:`user`.

        Anything that has a JSON form; None, the default, is nothing.
        """

    @overload
    async def call(
        self, method: str, payload: object = ..., *, returns: type[T], timeout: float | None = ...
    ) -> T: ...
    @overload
    async def call(
        self,
        method: str,
        payload: object = ...,
        *,
        returns: object = ...,
        timeout: float | None = ...,
    ) -> Any: ...
    async def call(
        self,
        method: str,
        payload: object = None,
        *,
        returns: object = Any,
        timeout: float | None = 30.0,
    ) -> Any:
        """Call a method of the client and return its response.

        ``payload`` is anything whose JSON form is an object; ``returns`` is the type of the
        response, by default dicts, lists and plain values; ``timeout`` is in seconds, None waits
        for ever. A call waits its turn while ``limits.asked`` are in flight. From within a lane,
        something must end the wait, for the client may call into that lane before it answers.

        Raises CallFailed with the client's error, ConnectionClosed at once when it goes away,
        TimeoutError, UnexpectedData for a response that does not fit ``returns``, Unserializable
        for a payload without a JSON form, ValueError in a lane with neither a ``timeout`` nor a
        deadline of the handler.
        """
        peer, running = self.connection.peer, current()
        if (
            timeout is None
            and running is not None
            and running.owner is peer
            and running.lane is not None
            and running.remaining is None
        ):
            raise ValueError(
                f"call({method!r}, timeout=None) in a lane may wait for ever, as the client may"
                " call into the lane before it answers: give a timeout, here or to the method"
            )
        return await peer.call(method, payload, returns=returns, timeout=timeout)

    async def notify(self, method: str, payload: object = None) -> None:
        """Call a method of the client without an answer.

        Raises ConnectionClosed, and Unserializable for a payload without a JSON form.
        """
        self.connection.peer.notify(method, payload)
