"""The life of a call on an event loop: what both ends of a connection have, without the socket."""
