"""The file in Python: the types, and a class for each endpoint.

The types are those of the server, as dataclasses and the like, in the order in which they are
built on each other. What has to refer to a type that is still to come is in quotes.
"""

from collections.abc import Sequence

from openapi.types.directions import Directions
from openapi.types.endpoint import Endpoint
from openapi.types.header import header
from openapi.types.naming import named
from openapi.types.ordered import ordered
from openapi.types.python.annotations import Annotations
from openapi.types.python.clients import PARAMETERS, Clients, method_names
from openapi.types.python.imports import Imports
from openapi.types.python.records import Classes, differs, labels
from openapi.types.surface import surfaces

__all__ = ["python"]


def python(endpoints: Sequence[Endpoint], *, origin: str) -> str:
    """The text of the file. ``origin`` is the command that writes it, in one line."""
    written = surfaces(endpoints)
    directions = Directions(
        (each for surface in written for each in surface.sent()),
        (each for surface in written for each in surface.received()),
        differs,
    )
    members = {
        *PARAMETERS,
        *(name for surface in written for name in method_names(surface).all()),
        *(name for variant in directions.variants for name in labels(variant.record)),
    }
    own = named(written, directions, members)
    imports = Imports(own.all())
    annotations = Annotations(imports, directions, own.types, own.all() | members)
    classes, clients = Classes(annotations), Clients(annotations)
    blocks = [
        *map(classes.enumeration, directions.enumerations),
        *map(classes.record, ordered(directions)),
    ]
    ends = [*map(clients.of, own.clients, written)]
    aliases = list(annotations.aliases.values())
    if aliases:
        blocks.append([line for alias in aliases for line in alias])
    lines = header("#", origin)
    lines += imports.lines()
    for number, block in enumerate([*blocks, *ends]):
        # behind the imports, there are two empty lines before a class alone
        is_class = block[0].startswith(("class ", "@"))
        lines += ["", *([""] if number or is_class else []), *block]
    return "\n".join(lines) + "\n"
