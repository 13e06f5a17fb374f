"""What the fast path costs, in counts: writes, encodings, tasks, timers, commands, steps.

A count is the same on every machine and at any load, which a time is not. Where it can be had, it
is that of a real server with real connections, on asyncio's loop and on uvloop.
"""
