"""The file in TypeScript: the types, and a class for each endpoint.

It imports types of the package ``aio-openapi`` alone, and is left with nothing but classes where
types are stripped.
"""

from collections.abc import Sequence
from typing import Final

from openapi.types.directions import Directions
from openapi.types.endpoint import Endpoint
from openapi.types.header import header
from openapi.types.names import free
from openapi.types.naming import named
from openapi.types.ordered import ordered
from openapi.types.surface import surfaces
from openapi.types.typescript.annotations import Annotations
from openapi.types.typescript.clients import OPTIONS, Clients
from openapi.types.typescript.declarations import Declarations, differs
from openapi.types.typescript.layout import bracketed

__all__ = ["typescript"]

#: What a type cannot be called: words of the language, and the types that a file is written with.
_RESERVED: Final = frozenset(
    "any as async await bigint boolean break case catch class const constructor continue debugger"
    " default delete do else enum export extends false finally for function get if implements"
    " import in instanceof interface let module namespace never new null number object package"
    " private protected public return set static string super switch symbol this throw true try"
    " type typeof undefined unique unknown var void while with yield"
    " NonNullable Omit Parameters Partial Promise Record".split()
)


def typescript(endpoints: Sequence[Endpoint], *, origin: str) -> str:
    """The text of the file. ``origin`` is the command that writes it, in one line."""
    written = surfaces(endpoints)
    directions = Directions(
        (each for surface in written for each in surface.sent()),
        (each for surface in written for each in surface.received()),
        differs,
    )
    own = named(written, directions, _RESERVED)
    taken = {*own.all(), *_RESERVED}
    imported = _Imports(taken)
    annotations = Annotations(directions, own.types, taken)
    declarations, clients = Declarations(annotations), Clients(annotations, imported.name)
    blocks = [
        *map(declarations.enumeration, directions.enumerations),
        *map(declarations.record, ordered(directions)),
    ]
    ends = [*map(clients.of, own.clients, written)]
    lines = header("//", origin)
    lines += imported.lines()
    for block in [*annotations.strings(), *blocks, *ends]:
        lines += ["", *block]
    return "\n".join(lines) + "\n"


class _Imports:
    """What the file imports, under other names where their own are taken."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._names: dict[str, str] = {}

    def name(self, name: str) -> str:
        if name not in self._names:
            self._names[name] = (
                name if name not in self._taken else free(f"Client{name}", self._taken)
            )
        return self._names[name]

    def lines(self) -> list[str]:
        own = [name for name in sorted(self._names) if name in OPTIONS]
        if own:
            self.name("Client")
        texts = [
            name if local == name else f"{name} as {local}"
            for name, local in sorted(self._names.items())
            if name not in OPTIONS
        ]
        lines = bracketed("import type { ", texts, ' } from "aio-openapi";', level=0)
        if len(lines) > 1:
            lines = ["import type {", *lines[1:-1], '} from "aio-openapi";']
        for name in own:
            text = OPTIONS[name].replace("Client", self._names["Client"])
            lines += ["", f"type {self._names[name]} = {text};"]
        return lines
