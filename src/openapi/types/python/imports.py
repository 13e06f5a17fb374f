"""The imports of a file: sorted, and under other names where their own are taken."""

import sys
from collections.abc import Collection

from openapi.types.names import capitalized, free
from openapi.types.python.layout import bracketed

__all__ = ["Imports"]


class Imports:
    """What a file imports. ``taken`` are the names that are its own."""

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = {*taken}
        self._names: dict[tuple[str, str], str] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def name(self, module: str, name: str, hidden: Collection[str] = ()) -> str:
        """What something is called in this file, where the names in ``hidden`` mean others."""
        others = [each for key, each in self._names.items() if key != (module, name)]
        if name not in self._taken and name not in hidden and name not in others:
            self._names[module, name] = name
            return name
        if (module, name) not in self._aliases:
            last = module.rpartition(".")[2]
            alias = capitalized(last) + name if name[0].isupper() else f"{last}_{name}"
            self._aliases[module, name] = free(alias, {*self._taken, *hidden})
        return self._aliases[module, name]

    def take(self, name: str) -> None:
        """A name is the file's own, and that of nothing imported so far."""
        self._taken.add(name)

    @property
    def local(self) -> set[str]:
        """The names that are something imported."""
        return {*self._names.values(), *self._aliases.values(), "TypeAlias"}

    def lines(self) -> list[str]:
        """The import statements, and an empty line between the sections."""
        modules = sorted({module for module, _ in (*self._names, *self._aliases)})
        sections: dict[bool, list[str]] = {True: [], False: []}
        for module in modules:
            section = sections[module.partition(".")[0] in sys.stdlib_module_names]
            names = [name for of, name in self._names if of == module and module != "builtins"]
            aliases = [(name, alias) for (of, name), alias in self._aliases.items() if of == module]
            # each alias is a statement of its own, and statements are sorted by their first names
            found = [(sorted(names, key=_rank), "")] if names else []
            found += [([name], f" as {alias}") for name, alias in aliases]
            for group, ending in sorted(found, key=lambda each: (_rank(each[0][0]), each[1])):
                section += _statement(module, [name + ending for name in group])
        return [*sections[True], *([""] if all(sections.values()) else []), *sections[False]]


def _statement(module: str, names: list[str]) -> list[str]:
    one = f"from {module} import {', '.join(names)}"
    if len(one) <= 100:
        return [one]
    return bracketed(f"from {module} import (", names, ")", level=0)


def _rank(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then the rest."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name
