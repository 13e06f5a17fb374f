"""How Sphinx builds these pages: ``make docs``."""

import re
from pathlib import Path

from sphinx.application import Sphinx

from openapi import __version__

project = "aio-openapi"
author = "aio-openapi contributors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = f"aio-openapi {version}"


def drop_empty_sections(app: Sphinx, name: str, source: list[str]) -> None:
    """A section of the index appears with its first page; an empty one would be a warning."""

    def keep(toctree: re.Match[str]) -> str:
        return toctree[0] if any(Path(app.srcdir).glob(f"{toctree[1]}/*.md")) else ""

    if name == "index":
        source[0] = re.sub(r"```{toctree}[^`]*?([\w-]+)/\*\n```\n", keep, source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", drop_empty_sections)
