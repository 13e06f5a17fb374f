"""The pair of sessions of :mod:`openapi.testing`, each with the methods of ``talk.py``."""

from typing import Any, TypeAlias

from openapi.protocol.frames import Codec
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.native import JSON, JSON_CLIENT
from openapi.testing.sessions import MadeCall, SessionPair
from tests.protocol.talk import TABLE

Mine: TypeAlias = MadeCall


class Joined(SessionPair):
    """A server and a client, who may call the same."""

    def __init__(
        self, limits: Limits | None = None, codecs: tuple[Codec, Codec] = (JSON, JSON_CLIENT)
    ) -> None:
        super().__init__(TABLE, TABLE, limits=limits, codecs=codecs)

    def call(
        self, method: str = "echo", payload: Any = None, *, stream: bool = False
    ) -> tuple[Mine, Incoming]:
        return super().call(method, payload, stream=stream)
