"""The RPC methods of a class: read once, when the class is defined, and callable without a socket.

    class Calculator:
        async def ws_rpc_add(self, payload: Add) -> Sum:
            \"\"\"Add two numbers\"\"\"

    table = MethodTable.of(Calculator)
    await table.call(Calculator(), "add", {"a": 1, "b": 2})

A method is a coroutine function named ``ws_rpc_NAME`` with one parameter, its payload. The
annotations are the types on the wire; without one, the payload is the plain dictionary and the
result anything that has a JSON form.

A coroutine function that yields is a stream: it is annotated with the type of its items, as
``-> AsyncIterator[Line]``, and answers as many of them as it likes.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from openapi.errors import DeclarationError, ErrorCode, InvalidData, RpcError
from openapi.protocol.declarations import (
    UNSET,
    Lane,
    UnsetType,
    declared_of,
    is_declared,
    ws_rpc,
)
from openapi.protocol.lane_keys import LaneField
from openapi.protocol.signatures import schema_of, signature_of
from openapi.schema import Schema, encode_json, encode_msgpack, plain

__all__ = ["UNSET", "Method", "MethodNamespace", "MethodTable", "UnsetType", "ws_rpc"]

PREFIX: Final = "ws_rpc_"
_ANY_OBJECT: Final[Schema[dict[str, Any]]] = Schema(dict[str, Any])

_NO_JSON: Final = b"{}"
_NO_MSGPACK: Final = b"\x80"
_OF_ANOTHER_KIND: Final = {
    False: "it overrides a stream and does not yield; clients of a stream wait for items",
    True: "it yields and overrides what is no stream; clients of that wait for one result",
}


class Method:
    """One RPC method: its name, its documentation, its types, its function, and how it is run."""

    __slots__ = (
        "_as_dict",
        "_decode",
        "_lane_field",
        "description",
        "function",
        "lane",
        "name",
        "payload",
        "plain",
        "returns",
        "shield",
        "stream",
        "summary",
        "timeout",
    )

    def __init__(
        self,
        name: str,
        function: Callable[[Any, Any], Any],
        *,
        payload: Schema[Any] | None = None,
        returns: Schema[Any] | None = None,
        as_dict: bool = False,
        timeout: float | None | UnsetType = UNSET,
        lane: Lane = None,
        shield: bool = False,
        stream: bool = False,
        doc: str = "",
    ) -> None:
        self.name: Final = name
        self.function: Final = function
        """Called with the target and the payload: a coroutine, or of a stream a generator."""
        self.payload: Final = payload
        self.returns: Final = returns
        """Of the result, or of one item of a stream. None: anything that has a JSON form."""
        self.timeout: Final = timeout
        """Seconds for the call, of a stream between two items. UNSET: the connection's default."""
        self.lane: Final = lane
        self.shield: Final = shield
        """Whether it goes on though nobody waits for it any more."""
        self.stream: Final = stream
        self.plain: Final = not (shield or stream)
        """Whether it is none of these two."""
        self._as_dict = as_dict
        self._decode = (payload or _ANY_OBJECT).receive
        self._lane_field = (
            LaneField(lane, payload, as_dict=as_dict) if isinstance(lane, str) else None
        )
        summary, _, description = inspect.cleandoc(doc).partition("\n")
        self.summary: Final = summary
        self.description: Final = description.strip()

    def __repr__(self) -> str:
        return f"<Method {self.name}>"

    def decode(self, payload: bytes, *, packed: bool = False) -> Any:
        """The payload as the method wants it. Raises :class:`InvalidData`.

        It is JSON, or where ``packed`` MessagePack; an empty one is the empty object.
        """
        try:
            if packed:
                value = (self.payload or _ANY_OBJECT).unpack(payload or _NO_MSGPACK)
            else:
                value = self._decode(payload or _NO_JSON)
        except InvalidData as exc:
            errors = {path or "payload": text for path, text in exc.errors.items()}
            raise InvalidData(errors) from None
        return plain(value) if self._as_dict else value

    def encode(self, result: object, *, packed: bool = False) -> bytes:
        """The result, or one item of a stream, as JSON, or where ``packed`` as MessagePack.

        Raises :class:`InvalidData`, :class:`Unserializable`.
        """
        if packed:
            return self.returns.pack(result) if self.returns is not None else encode_msgpack(result)
        return self.returns.encode(result) if self.returns is not None else encode_json(result)

    def lane_of(self, payload: object) -> Hashable | None:
        """The lane of a call with this decoded payload: equal keys, one lane. None: no lane."""
        if self.lane is None:
            return None
        return self.name if self._lane_field is None else self._lane_field.key(payload)


class MethodTable(Mapping[str, Method]):
    """The RPC methods of a class, by name. Nothing on the wire reaches any other attribute."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods: dict[str, Method] = dict(methods)
        self.find: Callable[[str], Method | None] = self._methods.get

    def __getitem__(self, name: str) -> Method:
        return self._methods[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)

    @classmethod
    def of(cls, owner: type) -> "MethodTable":
        """The table of a class. Raises :class:`DeclarationError`, naming class and method."""
        for base in owner.__mro__:
            _check_names(base)
        names = sorted({name for base in owner.__mro__ for name in vars(base) if _is_rpc(name)})
        return cls({name.removeprefix(PREFIX): _method(owner, name) for name in names})

    async def call(self, target: object, name: str, payload: object = None) -> bytes:
        """Call a method of ``target`` as the wire would, and return its result as JSON.

        Raises :class:`RpcError` for an unknown method, :class:`InvalidData` for a payload or a
        result that does not fit, TypeError for a stream, and whatever the method raises.
        """
        method = self._found(name)
        if method.stream:
            raise TypeError(f"{name} is a stream, which has items and no result: use stream()")
        arguments = method.decode(encode_json({} if payload is None else payload))
        return method.encode(await method.function(target, arguments))

    def stream(
        self, target: object, name: str, payload: object = None
    ) -> AsyncGenerator[bytes, None]:
        """Call a stream of ``target`` as the wire would, and return its items, each as JSON.

        Close what this returns if you do not read all of it, for instance with
        ``contextlib.aclosing``: that closes the stream.

        Raises at once :class:`RpcError` for an unknown method, :class:`InvalidData` for a payload
        that does not fit, and TypeError for a method that is no stream; while it is read,
        :class:`InvalidData` for an item that does not fit, and whatever the stream raises.
        """
        method = self._found(name)
        if not method.stream:
            raise TypeError(f"{name} is no stream, it has one result: use call()")
        arguments = method.decode(encode_json({} if payload is None else payload))
        return _items(method, target, arguments)

    def _found(self, name: str) -> Method:
        method = self._methods.get(name)
        if method is None:
            raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"{name} method not available")
        return method


async def _items(method: Method, target: object, payload: object) -> AsyncGenerator[bytes, None]:
    async with aclosing(method.function(target, payload)) as items:
        async for item in items:
            yield method.encode(item)


class MethodNamespace(dict[str, Any]):
    """The body of a class while it is read: refuses a second method of the same name."""

    def __init__(self, owner: str) -> None:
        super().__init__()
        self._owner = owner

    def __setitem__(self, name: str, value: Any) -> None:
        if _is_rpc(name) and name in self:
            raise DeclarationError(f"{self._owner}.{name}: there are two methods of this name")
        super().__setitem__(name, value)


def _is_rpc(name: str) -> bool:
    return name.startswith(PREFIX)


def _check_names(owner: type) -> None:
    """Refuse ``@ws_rpc`` where nobody would look for it."""
    for name, value in vars(owner).items():
        # Not an alias of a method, which has the method's own name.
        if is_declared(value) and not _is_rpc(name) and not _is_rpc(value.__name__):
            raise DeclarationError(
                f"{owner.__qualname__}.{name}: clients call methods that are named ws_rpc_NAME;"
                f" name it {PREFIX}{name}, or leave `@ws_rpc` out"
            )


def _method(owner: type, name: str) -> Method:
    definitions = [base for base in owner.__mro__ if name in vars(base)]
    for other in definitions[1:]:
        if not issubclass(definitions[0], other):
            raise DeclarationError(
                f"{owner.__qualname__}.{name}: {definitions[0].__qualname__} and"
                f" {other.__qualname__} both define it, and neither is a base of the other;"
                f" define it in {owner.__qualname__}"
            )
    # A method that overrides another keeps what that declares, but for what it declares itself.
    payload: Schema[Any] | None = None
    returns: Schema[Any] | None = None
    as_dict = False
    timeout: float | None | UnsetType = UNSET
    lane: Lane = None
    shield = False
    stream: bool | None = None
    for base in reversed(definitions):
        where = f"{base.__qualname__}.{name}"
        signature, declared = signature_of(where, vars(base)[name]), declared_of(vars(base)[name])
        if stream not in (None, signature.stream):
            raise DeclarationError(f"{where}: {_OF_ANOTHER_KIND[signature.stream]}")
        stream = signature.stream
        if declared.body_schema is not None:
            if signature.payload is not Any:
                raise DeclarationError(
                    f"{where}: its payload is typed twice, by body_schema and by"
                    f" {signature.payload!r}"
                )
            payload, as_dict = schema_of(f"{where}: body_schema", declared.body_schema), True
        elif signature.payload is not Any:
            payload, as_dict = schema_of(f"{where}: payload", signature.payload), False
        if declared.response_schema is not None:
            returns = schema_of(f"{where}: response_schema", declared.response_schema)
        elif signature.result is not Any:
            what = "item" if stream else "result"
            returns = schema_of(f"{where}: {what}", signature.result)
        if payload is not None and not payload.is_object:
            raise DeclarationError(
                f"{where}: its payload must be an object, {payload.hint!r} is none"
            )
        timeout = timeout if declared.timeout is UNSET else declared.timeout
        lane = lane if declared.lane is UNSET else declared.lane
        shield = shield if declared.shield is UNSET else declared.shield
        if stream and shield:
            raise DeclarationError(
                f"{where}: a stream cannot be shielded: once nobody reads it, it has no work to"
                " finish; leave `shield` out"
            )
        if isinstance(lane, str):
            _check_lane(where, lane, payload)
    return Method(
        name.removeprefix(PREFIX),
        vars(definitions[0])[name],
        payload=payload,
        returns=returns,
        as_dict=as_dict,
        timeout=timeout,
        lane=lane,
        shield=shield,
        stream=bool(stream),
        doc=next(filter(None, (vars(base)[name].__doc__ for base in definitions)), ""),
    )


def _check_lane(where: str, lane: str, payload: Schema[Any] | None) -> None:
    try:
        LaneField(lane, payload)
    except DeclarationError as exc:
        raise DeclarationError(f"{where}: {exc}") from None
