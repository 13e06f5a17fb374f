"""What stands above a file: that it is written, and by what command."""

__all__ = ["header"]

_WIDTH = 100


def header(mark: str, origin: str) -> list[str]:
    """The lines, each behind the ``mark`` of a comment. ``origin`` is the command."""
    command = [f"{mark}     {origin}"]
    if len(command[0]) > _WIDTH:
        before, option, after = origin.rpartition(" --")
        command = [f"{mark}     {before} \\", f"{mark}        {option}{after}"]
    return [
        f"{mark} Written by `openapi types`. Do not edit it, but write it anew:",
        mark,
        *command,
        "",
    ]
