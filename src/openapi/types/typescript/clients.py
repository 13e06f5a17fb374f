"""Endpoints as classes that have a connected ``Client``: a method for each that can be called."""

import math
import re
from collections.abc import Callable
from typing import Final

from openapi.schema.outline import Plain
from openapi.types.directions import Direction
from openapi.types.names import camel_case, capitalized, free
from openapi.types.surface import DEFAULT_TIMEOUT, Call, Surface, Takes, Topic, nouns
from openapi.types.typescript.annotations import Annotations
from openapi.types.typescript.layout import bracketed, comment, indented, literal

__all__ = ["OPTIONS", "Clients"]

OPTIONS: Final = {
    "PublishOptions": 'NonNullable<Parameters<Client["publish"]>[3]>',
    "HistoryOptions": 'NonNullable<Parameters<Client["history"]>[1]>',
}
"""Names of this file's own, for what the package has no name for."""


class Clients:
    """Writes the classes. ``name`` tells what something of the package is called here."""

    def __init__(self, annotations: Annotations, name: Callable[[str], str]) -> None:
        self._annotations = annotations
        self._name = name

    def of(self, name: str, surface: Surface) -> list[str]:
        """The class of an endpoint."""
        client = self._name("Client")
        blocks = [
            [f"readonly client: {client};"],
            [f"constructor(client: {client}) {{", "  this.client = client;", "}"],
        ]
        names = ["client", "constructor"]
        for call in surface.calls:
            names.append(free(camel_case(call.name), names, str))
            blocks.append(self._call(names[-1], call))
        for noun, topic in zip(nouns(surface.topics), surface.topics, strict=True):
            for verb, write in self._verbs(topic).items():
                names.append(free(verb + capitalized(camel_case(noun)), names, str))
                blocks.append(write(names[-1], topic))
        lines = [*comment(surface.doc), f"export class {name} {{"]
        for number, block in enumerate(blocks):
            lines += [*([""] if number else []), *indented(block)]
        return [*lines, "}"]

    def _verbs(self, topic: Topic) -> dict[str, Callable[[str, Topic], list[str]]]:
        found: dict[str, Callable[[str, Topic], list[str]]] = {}
        if topic.channels.subscribe:
            found["subscribe"] = self._subscribe
        if topic.channels.publish:
            found["publish"] = self._publish
        if topic.channels.subscribe and topic.channels.history:
            found["history"] = self._history
        return found

    def _call(self, name: str, call: Call) -> list[str]:
        parameters, payload = [], "null"
        if call.takes is not Takes.NOTHING:
            text = self._annotations.of(call.payload, Direction.SENT)
            text = "object" if call.payload is Plain.ANYTHING else text
            optional = " = {}" if call.takes is Takes.OPTIONAL else ""
            parameters, payload = [f"payload: {text}{optional}"], "payload"
        result = self._annotations.of(call.result, Direction.RECEIVED)
        verb, answer, options = "call", "Promise", "CallOptions"
        if call.stream:
            verb, answer, options = "stream", self._name("Stream"), "StreamOptions"
        elif call.result is Plain.NONE:
            result = "void"
        parameters.append(f"options?: {self._name(options)}")
        given = "options"
        if not call.stream and call.timeout != DEFAULT_TIMEOUT:
            timeout = "null" if call.timeout is None else math.ceil(call.timeout * 1000)
            given = f"{{ timeout: {timeout}, ...options }}"
        return self._method(
            name,
            call.doc,
            parameters,
            f"{answer}<{result}>",
            f"{verb}<{result}>(",
            [literal(call.name), payload, given],
        )

    def _subscribe(self, name: str, topic: Topic) -> list[str]:
        data = self._annotations.of(topic.data, Direction.RECEIVED)
        options, subscription = self._name("SubscribeOptions"), self._name("Subscription")
        doc, lines = topic.doc("Subscribe to {}."), list[str]()
        if topic.channels.presence:
            both = f"{data} | {self._name('Member')}"
            for text, asked in ((data, " & { presence?: false }"), (both, "")):
                mark = "?" if asked else ""
                parameters = [*_of(topic), f"options{mark}: {options}<{text}>{asked}"]
                lines += bracketed(f"{name}(", parameters, f"): {subscription}<{text}>;", level=1)
            data = "any"  # to a compiler, one of both
        method = self._method(
            name,
            "" if lines else doc,
            [*_of(topic), f"options?: {options}<{data}>"],
            f"{subscription}<{data}>",
            f"subscribe<{data}>(",
            [_channel(topic), "options"],
        )
        return [*(comment(doc) if lines else []), *lines, *method]

    def _publish(self, name: str, topic: Topic) -> list[str]:
        data = self._annotations.of(topic.takes, Direction.SENT)
        options = f"options?: {self._name('PublishOptions')}"
        return self._method(
            name,
            topic.doc("Publish on {}."),
            [*_of(topic), "event: string", f"data: {data}", options],
            f"Promise<{self._name('Position')} | null>",
            "publish(",
            [_channel(topic), "event", "data", "options"],
        )

    def _history(self, name: str, topic: Topic) -> list[str]:
        data = self._annotations.of(topic.data, Direction.RECEIVED)
        return self._method(
            name,
            topic.doc("Read what is kept of {}."),
            [*_of(topic), f"options?: {self._name('HistoryOptions')}"],
            f"Promise<{self._name('History')}<{data}>>",
            f"history<{data}>(",
            [_channel(topic), "options"],
        )

    def _method(
        self,
        name: str,
        doc: str,
        parameters: list[str],
        result: str,
        call: str,
        given: list[str],
    ) -> list[str]:
        head = bracketed(f"{name}(", parameters, f"): {result} {{", level=1)
        body = bracketed(f"return this.client.{call}", given, ");", level=2)
        return [*comment(doc), *head, *indented(body), "}"]


def _of(topic: Topic) -> list[str]:
    """The parameters by which a channel is found."""
    return {None: [], "": ["channel: string"]}.get(topic.prefix, ["name: string"])


def _channel(topic: Topic) -> str:
    """The name of a channel as an expression."""
    if topic.prefix is None:
        return literal(topic.channels.rule)
    if not topic.prefix:
        return "channel"
    if re.search(r"[`$\\]", topic.prefix) or not topic.prefix.isprintable():
        return f"{literal(topic.prefix)} + name"
    return f"`{topic.prefix}${{name}}`"
