"""The command ``openapi``: serve an application, call it, listen to it, publish to it.

Exit codes: 0 all is well, 1 the server or the call failed, 2 the command was used wrongly, 130 a
call was interrupted by Ctrl-C.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command. Leaves by SystemExit."""
    try:
        from openapi.cli.commands import openapi
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write('The command needs click and rich: pip install "aio-openapi[cli]"\n')
        sys.exit(2)
    openapi(prog_name="openapi")
