"""What a manager is told besides what it carries, in its class or when it is made."""

from collections.abc import Collection, Sequence
from typing import Any

from openapi.errors import DeclarationError
from openapi.protocol.handshake import check_origins
from openapi.protocol.limits import Limits
from openapi.ws.middleware import Middleware, check_middleware

__all__ = ["Options"]


class Options:
    """The options of a :class:`SocketsManager`. A subclass may set them in its class."""

    limits: Limits = Limits()
    origins: Collection[str] | None = None
    deflate: bool = False
    middleware: Sequence[Middleware] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.origins is not None:
            check_origins(cls.origins)
        _checked(cls.__qualname__, cls.limits)
        cls.middleware = check_middleware(cls.__qualname__, cls.middleware)

    def _set_options(
        self,
        limits: Limits | None,
        origins: Collection[str] | None,
        deflate: bool | None,
        middleware: Sequence[Middleware] | None,
    ) -> None:
        """Take what is given; what is not is the class's own."""
        if limits is not None:
            self.limits = _checked(type(self).__qualname__, limits)
        if origins is not None:
            check_origins(origins)
            self.origins = origins
        if deflate is not None:
            self.deflate = deflate
        if middleware is not None:
            self.middleware = check_middleware(type(self).__qualname__, middleware)


def _checked(where: str, limits: object) -> Limits:
    if not isinstance(limits, Limits):
        raise DeclarationError(f"{where}: limits is a `Limits(…)`, not {limits!r}")
    return limits
