"""Options of a manager."""

from openapi.ws import Limits, SocketsManager

# [limits]
limited = SocketsManager(
    limits=Limits(message_bytes=16 * 1024, calls=8, outbox_bytes=256 * 1024, ping_interval=15.0)
)
# [/limits]

# [origins]
open_to_two_pages = SocketsManager(origins=["https://example.com", "http://localhost:3000"])
# [/origins]

# [deflate]
compressing = SocketsManager(deflate=True)
# [/deflate]
