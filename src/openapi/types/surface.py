"""Endpoints with their types as outlines: all that a file in any language is written from."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from openapi.protocol.methods import UNSET, Method
from openapi.schema.outline import Form, Outlines, Plain, Record, Type
from openapi.types.endpoint import Channels, Endpoint
from openapi.types.names import free, snake_case

__all__ = ["DEFAULT_TIMEOUT", "Call", "Surface", "Takes", "Topic", "nouns", "surfaces"]

DEFAULT_TIMEOUT: Final = 30.0
"""What a client gives a call, in seconds."""


class Takes(Enum):
    """Whether a method has a payload."""

    NOTHING = "nothing"
    """It has no fields."""
    OPTIONAL = "optional"
    """All of its fields have defaults, or it is untyped."""
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One method."""

    name: str
    doc: str
    takes: Takes
    payload: Type
    result: Type
    """Of a stream, one item."""
    stream: bool
    timeout: float | None
    """Seconds that a client waits by default: as long as the method may take, or longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """The channels of one rule."""

    channels: Channels
    data: Type
    takes: Type

    @property
    def prefix(self) -> str | None:
        """What its channels begin with; None where it is one channel."""
        rule = self.channels.rule
        return rule[:-1] if rule.endswith("*") else None

    def doc(self, text: str) -> str:
        """A text about these channels, which are put in the place of its ``{}``."""
        which = f"`{self.channels.rule}`"
        if self.prefix is not None:
            which = f"{which[:-2]}` and a name" if self.prefix else "any channel"
        if self.channels.but:
            others = ", ".join(f"`{rule}`" for rule in self.channels.but)
            more = f"Its data has another type on {others}."
            text += "\n\n" + textwrap.fill(more, 88, break_on_hyphens=False)
        return text.replace("{}", which, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One endpoint."""

    name: tuple[str, ...]
    doc: str
    calls: tuple[Call, ...]
    topics: tuple[Topic, ...]

    def sent(self) -> Iterator[Type]:
        """The types that a client sends."""
        yield from (call.payload for call in self.calls if call.takes is not Takes.NOTHING)
        yield from (topic.takes for topic in self.topics if topic.channels.publish)

    def received(self) -> Iterator[Type]:
        """The types that a client receives."""
        yield from (call.result for call in self.calls)
        yield from (topic.data for topic in self.topics if topic.channels.subscribe)


def surfaces(endpoints: Sequence[Endpoint]) -> list[Surface]:
    """The endpoints, whose types are the same where their classes are."""
    outlines = Outlines()
    return [
        Surface(
            name=endpoint.name,
            doc=_doc(endpoint),
            calls=tuple(_call(method, outlines) for method in endpoint.methods),
            topics=tuple(
                Topic(
                    channels=channels,
                    data=outlines.of(channels.data),
                    takes=outlines.of(channels.takes),
                )
                for channels in endpoint.channels
            ),
        )
        for endpoint in endpoints
    ]


def nouns(topics: Sequence[Topic]) -> list[str]:
    """What each is about, as a word in ``snake_case``: ``orders`` of ``orders:*``.

    Where ``orders`` is a channel too, ``orders:*`` is ``orders_of``.
    """
    found: dict[str, str] = {}
    for topic in sorted(topics, key=lambda each: each.prefix is not None):
        rule = topic.channels.rule
        noun = snake_case(rule.removesuffix("*") or "channel")
        if noun in found.values() and topic.prefix is not None:
            noun = f"{noun}_of"
        found[rule] = free(noun, found.values())
    return [found[topic.channels.rule] for topic in topics]


def _call(method: Method, outlines: Outlines) -> Call:
    payload = Plain.ANYTHING if method.payload is None else outlines.of(method.payload.hint)
    return Call(
        name=method.name,
        doc=f"{method.summary}\n\n{method.description}".strip(),
        takes=_takes(payload),
        payload=payload,
        result=outlines.of(Any if method.returns is None else method.returns.hint),
        stream=method.stream,
        timeout=_timeout(method),
    )


def _takes(payload: Type) -> Takes:
    if payload is Plain.ANYTHING:
        return Takes.OPTIONAL
    if not isinstance(payload, Record) or payload.form is Form.ARRAY:
        return Takes.REQUIRED
    if any(field.required for field in payload.fields):
        return Takes.REQUIRED
    return Takes.OPTIONAL if payload.fields else Takes.NOTHING


def _timeout(method: Method) -> float | None:
    if method.stream or method.timeout is None:
        return None
    if method.timeout is UNSET:
        return DEFAULT_TIMEOUT
    return max(DEFAULT_TIMEOUT, math.ceil(method.timeout))


def _doc(endpoint: Endpoint) -> str:
    where = " and ".join(f"`{path}`" for path in endpoint.paths)
    return f"{endpoint.doc}\n\nIt is served at {where}.".strip() if where else endpoint.doc
