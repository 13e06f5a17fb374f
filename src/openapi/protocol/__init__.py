"""The protocol, and nothing that does I/O: no socket, no clock, no task, no log."""
