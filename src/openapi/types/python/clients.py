"""Endpoints as classes that have a connected ``Client``: a method for each that can be called."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from openapi.schema.outline import Choice, Plain, Type, Union
from openapi.types.directions import Direction
from openapi.types.names import camel_case, capitalized, free
from openapi.types.python.annotations import Annotations, Place, label
from openapi.types.python.layout import bracketed, docstring, indented, literal
from openapi.types.surface import Call, Surface, Takes, Topic, nouns

__all__ = ["PARAMETERS", "Clients", "MethodNames", "method_names"]

PARAMETERS: Final = frozenset(
    {
        "channel",
        "client",
        "data",
        "event",
        "idempotent",
        "key",
        "limit",
        "name",
        "on_renewed",
        "payload",
        "presence",
        "queue_bytes",
        "recover",
        "result",
        "reverse",
        "self",
        "since",
        "timeout",
    }
)
"""What the parameters of methods are called, and what they have inside."""

_CLIENT: Final = "openapi.client"
_QUEUE_BYTES: Final = "1024 * 1024"


class MethodNames(NamedTuple):
    """What the methods of a class are called, in the order of the endpoint."""

    calls: list[str]
    topics: list[str]
    """The words behind ``subscribe_``, ``publish_`` and ``history_``."""

    def all(self) -> set[str]:
        """All of them."""
        verbs = ("subscribe", "publish", "history")
        return {*self.calls, *(f"{verb}_{noun}" for noun in self.topics for verb in verbs)}


def method_names(surface: Surface) -> MethodNames:
    """What the methods of an endpoint are called."""
    calls: list[str] = []
    for call in surface.calls:
        calls.append(free(label(call.name), ["client", "__init__", *calls]))
    topics: list[str] = []
    for noun in nouns(surface.topics):
        verbs = ("subscribe_", "publish_", "history_")
        taken = [name.removeprefix(verb) for name in calls for verb in verbs if verb in name[:10]]
        topics.append(free(noun, [*taken, *topics]))
    return MethodNames(calls, topics)


class Clients:
    """Writes the classes."""

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations

    def of(self, name: str, surface: Surface) -> list[str]:
        """The class of an endpoint."""
        return _Class(self._annotations, name, surface).lines()


class _Class:
    def __init__(self, annotations: Annotations, name: str, surface: Surface) -> None:
        self._annotations = annotations
        self._name = name
        self._surface = surface
        self._names = method_names(surface)
        self._hidden = self._names.all() | PARAMETERS
        self._float, self._int, self._str, self._bool = (
            self._import("builtins", name) for name in ("float", "int", "str", "bool")
        )
        self._timeout = f"timeout: {self._float} | None"

    def lines(self) -> list[str]:
        documented = docstring(self._surface.doc)
        client = self._import(_CLIENT, "Client")
        blocks = [
            [
                f"def __init__(self, client: {client}) -> None:",
                f"    self.client: {self._import('typing', 'Final')} = client",
            ]
        ]
        blocks += map(self._call, self._names.calls, self._surface.calls)
        for noun, topic in zip(self._names.topics, self._surface.topics, strict=True):
            if topic.channels.subscribe:
                blocks.append(self._subscribe(noun, topic))
            if topic.channels.publish:
                blocks.append(self._publish(noun, topic))
            if topic.channels.subscribe and topic.channels.history:
                blocks.append(self._history(noun, topic))
        lines = [f"class {self._name}:", *indented(documented)]
        for number, block in enumerate(blocks):
            lines += [*([""] if documented or number else []), *indented(block)]
        return lines

    # ---- methods

    def _call(self, name: str, call: Call) -> list[str]:
        context = self._name.removesuffix("Client") + capitalized(camel_case(name))
        given = [literal(call.name)]
        parameters = ["self"]
        if call.takes is not Takes.NOTHING:
            if call.payload is Plain.ANYTHING:
                mapping = self._import("collections.abc", "Mapping")
                payload = f"{mapping}[{self._str}, {self._any()}]"
            else:
                payload = self._text(call.payload, Direction.SENT, f"{context}Payload")
            optional = " | None = None" if call.takes is Takes.OPTIONAL else ""
            parameters.append(f"payload: {payload}{optional}")
            given.append("payload")
        result = self._text(call.result, Direction.RECEIVED, f"{context}Result")
        typed = [] if call.result is Plain.ANYTHING else [result]
        if call.stream:
            parameters += ["*", f"{self._timeout} = None"]
            parameters.append(f"queue_bytes: {self._int} = {_QUEUE_BYTES}")
            given += [f"type={text}" for text in typed]
            given += ["timeout=timeout", "queue_bytes=queue_bytes"]
            stream = f"{self._import(_CLIENT, 'Stream')}[{result}]"
            head = _def(f"def {name}(", parameters, stream)
            body = _inside("return self.client.stream(", given)
            return [*head, *indented(docstring(call.doc)), *body]
        timeout = None if call.timeout is None else float(call.timeout)
        parameters += ["*", f"{self._timeout} = {timeout}"]
        parameters.append(f"idempotent: {self._bool} = False")
        given += [f"returns={text}" for text in typed]
        given += ["timeout=timeout", "idempotent=idempotent"]
        head = _def(f"async def {name}(", parameters, result)
        return [*head, *indented(docstring(call.doc)), *self._awaited(call, result, given)]

    def _awaited(self, call: Call, result: str, given: Sequence[str]) -> list[str]:
        if call.result is Plain.NONE:
            return _inside("await self.client.call(", given)
        if isinstance(call.result, Union | Choice):
            # the type of these is no type[T] to a checker
            lines = _inside(f"result: {result} = await self.client.call(", given)
            return [*lines, "    return result"]
        return _inside("return await self.client.call(", given)

    def _subscribe(self, noun: str, topic: Topic) -> list[str]:
        data = self._data(noun, topic.data, Direction.RECEIVED)
        subscription = self._import(_CLIENT, "Subscription")
        name = f"subscribe_{noun}"
        recover = f"recover: {self._import(_CLIENT, 'Position')} | None"
        queue = f"queue_bytes: {self._int}"
        event, watched = f"event: {self._str}", f"presence: {self._bool}"
        on_renewed = f"on_renewed: {self._import('collections.abc', 'Callable')}"
        on_renewed += (
            f"[[{subscription}[{self._any()}]], {self._import('builtins', 'object')}] | None"
        )
        options = [f"{recover} = None", f"{queue} = {_QUEUE_BYTES}"]
        options += [f"{self._timeout} = 30.0", f"{on_renewed} = None"]
        given = [_channel(topic), "event", f"type={data}", "recover=recover"]
        lines: list[str] = []
        result = f"{subscription}[{data}]"
        if topic.channels.presence:
            both = f"{subscription}[{data} | {self._import(_CLIENT, 'Member')}]"
            never = f"presence: {self._import('typing', 'Literal')}[False] = ..."
            others = [f"{each} = ..." for each in (recover, queue, self._timeout, on_renewed)]
            for asked, each in ((never, result), (watched, both)):
                lines += [f"@{self._import('typing', 'overload')}"]
                parameters = [*self._of(topic), f"{event} = ...", "*", asked, *others]
                lines += _def(f"def {name}(", parameters, each, " ...")
            options.insert(1, f"{watched} = False")
            given.append("presence=presence")
            result = f"{subscription}[{self._any()}]"  # to a checker, one of both
        parameters = [*self._of(topic), f'{event} = "*"', "*", *options]
        given += ["queue_bytes=queue_bytes", "timeout=timeout", "on_renewed=on_renewed"]
        lines += _def(f"def {name}(", parameters, result)
        doc = topic.doc("Subscribe to {}; see `Client.subscribe`.")
        return [
            *lines,
            *indented(docstring(doc)),
            *_inside("return self.client.subscribe(", given),
        ]

    def _publish(self, noun: str, topic: Topic) -> list[str]:
        data = self._data(noun, topic.takes, Direction.SENT)
        parameters = [
            *self._of(topic),
            f"event: {self._str}",
            f"data: {data}",
            "*",
            f"key: {self._str} | None = None",
            f"{self._timeout} = 30.0",
        ]
        given = [_channel(topic), "event", "data", "key=key", "timeout=timeout"]
        position = f"{self._import(_CLIENT, 'Position')} | None"
        return [
            *_def(f"async def publish_{noun}(", parameters, position),
            *indented(docstring(topic.doc("Publish on {}; see `Client.publish`."))),
            *_inside("return await self.client.publish(", given),
        ]

    def _history(self, noun: str, topic: Topic) -> list[str]:
        data = self._data(noun, topic.data, Direction.RECEIVED)
        parameters = [
            *self._of(topic),
            "*",
            f"since: {self._import(_CLIENT, 'Position')} | None = None",
            f"limit: {self._int} | None = None",
            f"reverse: {self._bool} = False",
            f"{self._timeout} = 30.0",
        ]
        given = [_channel(topic), "since=since", "limit=limit", "reverse=reverse", f"type={data}"]
        doc = topic.doc("Read what is kept of {}; see `Client.history`.")
        history = f"{self._import(_CLIENT, 'History')}[{data}]"
        return [
            *_def(f"async def history_{noun}(", parameters, history),
            *indented(docstring(doc)),
            *_inside("return await self.client.history(", [*given, "timeout=timeout"]),
        ]

    # ---- their parts

    def _import(self, module: str, name: str) -> str:
        return self._annotations.imports.name(module, name, self._hidden)

    def _any(self) -> str:
        return self._import("typing", "Any")

    def _text(self, outline: Type, direction: Direction, context: str) -> str:
        place = Place(direction=direction, context=context, hidden=self._hidden)
        return self._annotations.of(outline, place).text

    def _data(self, noun: str, outline: Type, direction: Direction) -> str:
        context = self._name.removesuffix("Client") + capitalized(camel_case(noun))
        ending = "Input" if direction is Direction.SENT else ""
        return self._text(outline, direction, f"{context}Data{ending}")

    def _of(self, topic: Topic) -> list[str]:
        """The parameters by which a channel is found."""
        name = _parameter(topic)
        return ["self", *([f"{name}: {self._str}"] if name else [])]


def _def(before: str, parameters: Sequence[str], result: str, after: str = "") -> list[str]:
    return bracketed(before, parameters, f") -> {result}:{after}", level=1, alone=True)


def _inside(before: str, given: Sequence[str]) -> list[str]:
    """A call, as the last line of a method."""
    return indented(bracketed(before, given, ")", level=2))


def _parameter(topic: Topic) -> str:
    return {None: "", "": "channel"}.get(topic.prefix, "name")


def _channel(topic: Topic) -> str:
    """The name of a channel as an expression."""
    if topic.prefix is None:
        return literal(topic.channels.rule)
    if not topic.prefix:
        return "channel"
    if re.search(r"[{}\"'\\]", topic.prefix) or not topic.prefix.isprintable():
        return f"{literal(topic.prefix)} + name"
    return f'f"{topic.prefix}{{name}}"'
