"""The command ``openapi``: serve an application, call it, listen to it, publish to it.

Exit codes: 0 all is well, 1 the server or the call failed, 2 the command was used wrongly, 130 it
was interrupted by Ctrl-C.
"""

import sys
from typing import Final

from openapi.cli.standard_streams import prepare

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED: Final = 130


def main() -> None:
    """Run the command. Leaves by SystemExit."""
    prepare()
    try:
        from openapi.cli.commands import openapi
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write('The command needs click and rich: pip install "aio-openapi[cli]"\n')
        sys.exit(2)
    except KeyboardInterrupt:  # importing takes long enough to be interrupted
        sys.exit(INTERRUPTED)
    openapi(prog_name="openapi")
