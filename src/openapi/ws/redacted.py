"""Reasons that people are shown, who may not know the passwords of the servers."""

import re
from typing import Final

__all__ = ["redacted"]

#: What stands before the host in a URL.
_CREDENTIALS: Final = re.compile(r"(?<=://)\S*@")


def redacted(text: str) -> str:
    """A text in which no URL has a user, a password or a token any more."""
    return _CREDENTIALS.sub("", text)
