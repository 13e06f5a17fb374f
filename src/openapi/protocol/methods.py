"""The RPC methods of a class: read once, when the class is defined, and callable without a socket.

    class Calculator:
        async def ws_rpc_add(self, payload: Add) -> Sum:
            \"\"\"Add two numbers\"\"\"

    table = MethodTable.of(Calculator)
    await table.call(Calculator(), "add", {"a": 1, "b": 2})

A method is a coroutine function named ``ws_rpc_NAME`` with one parameter, its payload. The
annotations are the types on the wire; without one, the payload is the plain dictionary and the
result anything that has a JSON form.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from openapi.errors import DeclarationError, ErrorCode, InvalidData, RpcError
from openapi.schema import Schema, encode_json, hints_of, plain

__all__ = ["Method", "MethodNamespace", "MethodTable", "ws_rpc"]

PREFIX: Final = "ws_rpc_"
_MARK: Final = "__ws_rpc__"
_UNTYPED: Final = (inspect.Parameter.empty, Any, dict, dict[str, Any], Mapping[str, Any])
_ANY_OBJECT: Final[Schema[dict[str, Any]]] = Schema(dict[str, Any])

_Function = TypeVar("_Function", bound=Callable[..., Awaitable[Any]])


class ws_rpc:
    """Declare the types of an RPC method beside its signature.

    ``body_schema`` types the payload, which reaches the method as a plain, validated dictionary;
    ``response_schema`` types the result. Annotations do the same with less: prefer them.
    """

    def __init__(self, *, body_schema: object = None, response_schema: object = None) -> None:
        self.body_schema = body_schema
        self.response_schema = response_schema

    def __call__(self, function: _Function) -> _Function:
        setattr(function, _MARK, self)
        return function


class Method:
    """One RPC method: its name, its documentation, its types and its function."""

    __slots__ = ("_as_dict", "description", "function", "name", "payload", "returns", "summary")

    def __init__(
        self,
        name: str,
        function: Callable[[Any, Any], Awaitable[Any]],
        *,
        payload: Schema[Any] | None = None,
        returns: Schema[Any] | None = None,
        as_dict: bool = False,
        doc: str = "",
    ) -> None:
        self.name: str = name
        self.function: Callable[[Any, Any], Awaitable[Any]] = function
        self.payload: Schema[Any] | None = payload
        self.returns: Schema[Any] | None = returns
        self._as_dict = as_dict
        summary, _, description = inspect.cleandoc(doc).partition("\n")
        self.summary: str = summary
        self.description: str = description.strip()

    def __repr__(self) -> str:
        return f"<Method {self.name}>"

    def decode(self, payload: bytes) -> Any:
        """The payload as the method wants it. Raises :class:`InvalidData`."""
        try:
            value = (self.payload or _ANY_OBJECT).decode(payload)
        except InvalidData as exc:
            errors = {path or "payload": text for path, text in exc.errors.items()}
            raise InvalidData(errors) from None
        return plain(value) if self._as_dict else value

    def encode(self, result: object) -> bytes:
        """The result as JSON. Raises :class:`InvalidData`, :class:`Unserializable`."""
        return self.returns.encode(result) if self.returns is not None else encode_json(result)


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
        names = sorted({name for base in owner.__mro__ for name in vars(base) if _is_rpc(name)})
        return cls({name.removeprefix(PREFIX): _method(owner, name) for name in names})

    async def call(self, target: object, name: str, payload: object = None) -> bytes:
        """Call a method of ``target`` as the wire would, and return its result as JSON.

        Raises :class:`RpcError` for an unknown method, :class:`InvalidData` for a payload or a
        result that does not fit, and whatever the method raises.
        """
        method = self._methods.get(name)
        if method is None:
            raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"{name} method not available")
        arguments = method.decode(encode_json({} if payload is None else payload))
        return method.encode(await method.function(target, arguments))


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


def _method(owner: type, name: str) -> Method:
    definitions = [base for base in owner.__mro__ if name in vars(base)]
    for other in definitions[1:]:
        if not issubclass(definitions[0], other):
            raise DeclarationError(
                f"{owner.__qualname__}.{name}: {definitions[0].__qualname__} and"
                f" {other.__qualname__} both define it, and neither is a base of the other;"
                f" define it in {owner.__qualname__}"
            )
    # A method that overrides another without declaring types keeps those that it overrides.
    payload: Schema[Any] | None = None
    returns: Schema[Any] | None = None
    as_dict = False
    for base in reversed(definitions):
        where = f"{base.__qualname__}.{name}"
        function, declared = _function_of(where, vars(base)[name]), _declared(vars(base)[name])
        parameter, hints = _payload_parameter(where, function), hints_of(function)
        hint = hints.get(parameter, inspect.Parameter.empty)
        if declared.body_schema is not None:
            if hint not in _UNTYPED:
                raise DeclarationError(
                    f"{where}: its payload is typed twice, by body_schema and by {hint!r}"
                )
            payload, as_dict = _schema(f"{where}: body_schema", declared.body_schema), True
        elif hint not in _UNTYPED:
            payload, as_dict = _schema(f"{where}: payload", hint), False
        result = hints.get("return", Any)
        if declared.response_schema is not None:
            returns = _schema(f"{where}: response_schema", declared.response_schema)
        elif result is not Any:
            returns = _schema(f"{where}: result", result)
        if payload is not None and not payload.is_object:
            raise DeclarationError(
                f"{where}: its payload must be an object, {payload.hint!r} is none"
            )
    return Method(
        name.removeprefix(PREFIX),
        vars(definitions[0])[name],
        payload=payload,
        returns=returns,
        as_dict=as_dict,
        doc=next(filter(None, (vars(base)[name].__doc__ for base in definitions)), ""),
    )


def _function_of(where: str, attribute: object) -> Callable[..., Awaitable[Any]]:
    if not inspect.isfunction(attribute) or not inspect.iscoroutinefunction(attribute):
        name = where.rpartition(".")[2]
        raise DeclarationError(
            f"{where}: an RPC method is a coroutine function, write `async def {name}`"
        )
    return attribute


def _declared(function: object) -> ws_rpc:
    declared = getattr(function, _MARK, None)
    return declared if isinstance(declared, ws_rpc) else ws_rpc()


def _payload_parameter(where: str, function: Callable[..., object]) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise DeclarationError(f"{where}: it has no payload parameter, write `(self, payload)`")
    for extra in parameters[1:]:
        variable = extra.kind in (extra.VAR_KEYWORD, extra.VAR_POSITIONAL)
        if extra.default is extra.empty and not variable:
            raise DeclarationError(
                f"{where}: it gets the payload and nothing else,"
                f" remove {extra.name!r} or give it a default"
            )
    return parameters[0].name


def _schema(where: str, hint: object) -> Schema[Any]:
    try:
        return Schema(hint)
    except DeclarationError as exc:
        raise DeclarationError(f"{where}: {exc}") from exc
