"""What is wrong with a value, where, and in which words."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeGuard, cast

import msgspec

from openapi.errors import DeclarationError

__all__ = [
    "LARGEST",
    "MAX_FAULTS",
    "NO_CHOICE",
    "NO_NAME",
    "OUT_OF_RANGE",
    "SMALLEST",
    "TOO_DEEP",
    "Faults",
    "at",
    "built",
    "check_scalar",
    "converted",
    "is_model",
    "one_of",
    "pydantic",
    "reason",
]

MAX_FAULTS: Final = 100
"""A refusal names this many fields; a longer one would only cost the server."""
SMALLEST: Final = -(2**63)
LARGEST: Final = 2**64 - 1

_LONGEST_NAME: Final = 64
_LONGEST_TEXT: Final = 200
OUT_OF_RANGE: Final = "integer out of range"
NO_CHOICE: Final = "invalid value"
NO_NAME: Final = "as a name: expected `str`"
TOO_DEEP: Final = "nested too deeply"


class _Enough(Exception):
    """MAX_FAULTS were found."""


class Faults:
    """What is wrong with a value: ``errors`` is ``{path: text}``.

    ``lax`` is for strings that stand for numbers, ``packed`` for builtins out of
    MessagePack, which can say more than JSON.
    """

    def __init__(self, *, lax: bool = False, packed: bool = False) -> None:
        self.lax = lax
        self.packed = packed
        self.errors: dict[str, str] = {}

    def add(self, path: str, text: str) -> None:
        if len(self.errors) >= MAX_FAULTS:
            self.errors[""] = f"there are more than {MAX_FAULTS} faulty fields"
            raise _Enough
        self.errors[path] = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"

    def collect(self, look: "Look", value: object) -> None:
        """Let ``look`` add what is wrong, until there is enough of it."""
        try:
            look(value, "", self)
        except _Enough:
            pass  # the list says so itself


Look = Callable[[object, str, Faults], None]
"""Adds to the faults what is wrong with a value that is at a path."""


def reason(error: Exception) -> tuple[str, str]:
    """Path and text of what msgspec said."""
    if isinstance(error, TypeError):
        return "", "items of a set must be plain values"
    text, _, path = str(error).partition(" - at `")
    if text.startswith("Invalid enum value"):
        text = NO_CHOICE  # without the value, which can be long
    elif text == "Integer value out of range":
        text = OUT_OF_RANGE
    return path.rstrip("`").lstrip("$").lstrip("."), text[:1].lower() + text[1:].rstrip()


def converted(value: object, hint: object, *, lax: bool = False, packed: bool = False) -> object:
    """Builtins -> ``hint``. Raises what msgspec raises: ValidationError, TypeError."""
    hook = partial(built, lax=lax, packed=packed) if lax or packed else built
    return msgspec.convert(value, cast("Any", hint), strict=not lax, str_keys=True, dec_hook=hook)


def built(kind: type[Any], value: object, *, lax: bool = False, packed: bool = False) -> object:
    """Make an instance of a type that msgspec does not know: its ``dec_hook``."""
    return value if kind is object else pydantic().validated(kind, value, lax=lax, packed=packed)


def at(path: str, name: object) -> str:
    """The path of a field. Keys are the peer's, and may be long."""
    text = str(name)
    if len(text) > _LONGEST_NAME:
        text = text[:_LONGEST_NAME] + "…"
    return f"{path}.{text}" if path else text


def is_model(kind: object) -> TypeGuard[type[Any]]:
    """Tell, without importing pydantic, whether a class is one of its models."""
    bases = kind.__mro__ if isinstance(kind, type) else ()
    return any((base.__module__, base.__name__) == ("pydantic.main", "BaseModel") for base in bases)


def pydantic() -> ModuleType:
    """The one file that imports pydantic. Raises DeclarationError if it cannot."""
    try:
        from openapi.schema import _pydantic
    except (ImportError, AttributeError) as error:
        raise DeclarationError(
            f"pydantic models need pydantic 2.13 or later ({error}): "
            'pip install "aio-openapi[pydantic]"'
        ) from error
    return _pydantic


def check_scalar(value: object, path: str, found: Faults) -> None:
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        found.add(path, OUT_OF_RANGE)
    elif isinstance(value, float) and not math.isfinite(value):
        found.add(path, "expected a finite number")
    elif isinstance(value, msgspec.msgpack.Ext):
        found.add(path, f"extension type {value.code} is not supported")


def one_of(choices: Sequence[object]) -> str:
    texts = [f"`{choice}`" for choice in choices[:10]] + ["…"] * (len(choices) > 10)
    return f"expected one of {', '.join(texts)}" if len(texts) > 1 else f"expected {texts[0]}"
