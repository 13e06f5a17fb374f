"""One type in one format: all that is done to data on its way in, and on its way out."""

from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec

from openapi.errors import InvalidData, Unserializable
from openapi.schema._faults import TOO_DEEP, Faults, converted, reason
from openapi.schema._format import REFUSALS, Data, Fits, Format, Guard, Unfit, text_of
from openapi.schema._shape import Shape, reachable

__all__ = ["Codec"]

T = TypeVar("T")


class Codec(Generic[T]):
    """One type in one format."""

    receive: Callable[[Data], T]
    """Read data. Raises :class:`InvalidData`."""
    send: Callable[[object], bytes]
    """Write a value. Raises REFUSALS, and then :meth:`send_known` has the last word.

    And Unserializable, which is a TypeError, but no refusal.
    """

    def __init__(
        self, format: Format, hint: object, shape: Shape, complete: Callable[[T], None] | None
    ) -> None:
        self._format = format
        self._hint = hint
        self._shape = shape
        self._complete = complete
        parts = reachable(shape)
        builtins, write, decode = format.builtins, format.write, format.decoder(hint, parts)
        # what msgspec does not check: unknown fields of most types, and numbers of all sizes
        fits = format.fits(shape, parts)
        guard = format.guard(parts, self.faults)
        # what msgspec leaves out: defaults
        fill = shape.fill if any(part.has_defaults for part in parts) else None
        names = format.names(shape)
        self.receive = _received(builtins, decode, names, fits, guard, complete, self.mended)
        self.send = _sent(builtins, write, decode, names, fits, guard, fill)
        self.send_whole = _sent(builtins, write, decode, names, fits, guard, None)

    def mended(self, data: Data, error: Exception) -> T:
        """What was meant by data that msgspec refused. Raises :class:`InvalidData`.

        JSON is always what it says; in MessagePack a value may be there in its JSON form.
        """
        value, errors = self._examined(data)
        if self._format.packed and not errors:
            try:
                result = cast("T", converted(value, self._hint, packed=True))
                if self._complete is not None:
                    self._complete(result)
                return result
            except REFUSALS as reason:
                error = reason
        raise InvalidData(errors or _reason(error)) from error

    def send_known(self, value: object) -> bytes:
        """Write what the type has of a value. Raises :class:`InvalidData` and Unserializable."""
        data = self._format.write(value)
        found = Faults()
        try:
            try:
                value = self._shape.pruned(self._format.read(data, found))
                if found.errors:
                    raise Unfit
                data = self._format.write(value)
                return self.send(value)
            except Unserializable:
                raise
            except REFUSALS as error:
                return self.send(self.mended(data, error))
        except Unserializable:
            raise
        except REFUSALS as error:  # of an instance: it is not written as it is read
            raise InvalidData(self.faults(data) or _reason(error)) from error

    def faults(self, data: Data) -> dict[str, str]:
        """Name every faulty field of data, as far as a walk over it can tell."""
        return self._examined(data)[1]

    def _examined(self, data: Data) -> tuple[object, dict[str, str]]:
        """The builtins of data, and its faults."""
        found = Faults(packed=self._format.packed)
        try:
            value = self._format.read(data, found)
            found.collect(self._shape.faults, value)
        except RecursionError:
            return None, {"": TOO_DEEP}
        except msgspec.ValidationError as error:
            return None, _reason(error)
        except (msgspec.DecodeError, UnicodeError):
            return None, {"": self._format.unreadable}
        return value, found.errors


def _reason(error: Exception) -> dict[str, str]:
    return dict([reason(error)])


# All that is done each time, when nothing is wrong, is done in the next two.


def _received(
    builtins: Callable[[Data], object],
    decode: Callable[[Data], T],
    names: int | None,
    fits: Fits | None,
    guard: Guard | None,
    complete: Callable[[T], None] | None,
    mended: Callable[[Data, Exception], T],
) -> Callable[[Data], T]:
    """Add to a decoder the checks that it lacks, and defaults to its result."""
    search, step, certain = guard or (None, 1, bool)

    def received(data: Data) -> T:
        try:
            text = bytes(data) if type(data) is msgspec.Raw else data
            value = decode(text)
            if type(text) is not bytes:
                text = text_of(text)
            if fits is not None and text.count(b":") != names and not fits(builtins(text)):
                raise Unfit
            if search is not None and search(text[::step]) is not None and certain(text):
                raise Unfit
            if complete is not None:
                complete(value)
            return value
        except REFUSALS as error:
            return mended(data, error)

    return received


def _sent(
    builtins: Callable[[Data], object],
    write: Callable[[object], bytes],
    decode: Callable[[Data], object],
    names: int | None,
    fits: Fits | None,
    guard: Guard | None,
    fill: Fits | None,
) -> Callable[[object], bytes]:
    """Make what writes a value, checks it as :func:`_received` does, and adds defaults."""
    search, step, certain = guard or (None, 1, bool)

    def sent(value: object) -> bytes:
        data = write(value)
        if fill is not None or (fits is not None and data.count(b":") != names):
            plain = builtins(data)
            if fill is not None and fill(plain):
                data = write(plain)
            decode(data)
            if fits is not None and not fits(plain):
                raise Unfit
        else:
            decode(data)
        if search is not None and search(data[::step]) is not None and certain(data):
            raise Unfit
        return data

    return sent
