"""A server that does next to nothing: it shows how much faster than any server the load can go.

    python bench/servers/null.py

It knows reads by their bytes, and answers with bytes that it made when it saw the same for the
first time. What is published is sent to all who ever subscribed to anything. It trusts its one
client: no limit holds, nothing is checked, and there is no event loop.
"""

import json
import select
import signal
import socket
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from typing import Any

READ = 65_536
KNOWN = 4096


class Served:
    """A connection, and the beginning of what it has not sent all of."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.recv = sock.recv
        self.send = sock.sendall
        self.open = False
        self.rest = b""

    def messages(self, data: bytes) -> Iterator[Any]:
        """Take what was read apart."""
        data, self.rest = self.rest + data, b""
        while data:
            size, body = data[1] & 0x7F, 2
            if size == 126 and len(data) >= 4:
                size, body = int.from_bytes(data[2:4]), 4
            end = body + 4 + size
            if len(data) < end or size == 126 and body == 2:
                self.rest = data
                return
            mask = int.from_bytes((data[body : body + 4] * (size // 4 + 1))[:size])
            payload = int.from_bytes(data[body + 4 : end]) ^ mask
            if data[0] & 0x0F == 1:
                yield json.loads(payload.to_bytes(size))
            data = data[end:]


def frame(message: object) -> bytes:
    """A text frame of JSON, up to 64 KiB."""
    payload = json.dumps(message, separators=(",", ":")).encode()
    size = len(payload)
    return b"\x81" + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)) + payload


def upgraded(head: bytes) -> bytes:
    """The answer to a handshake (RFC 6455, 4.2.2)."""
    key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )


def answer(message: Any) -> bytes:
    """What is answered to a message, as a frame."""
    response = None
    if message["method"] == "order":
        order = message["payload"]
        response = {"id": order["id"], "total": order["price"] * 1.2, "text": order["note"]}
    return frame({"id": message["id"], "method": message["method"], "response": response})


def main() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    epoll, served, known = select.epoll(), dict[int, Served](), dict[bytes, bytes]()
    subscribed = dict[int, Served]()
    epoll.register(listener, select.EPOLLIN)
    print(listener.getsockname()[1], flush=True)
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                served[sock.fileno()] = Served(sock)
                epoll.register(sock, select.EPOLLIN)
                continue
            one = served[fd]
            try:
                data = one.recv(READ)
            except ConnectionResetError:
                data = b""
            if not data:
                epoll.unregister(fd)
                subscribed.pop(fd, None)
                del served[fd]
                one.sock.close()
            elif (said := known.get(data)) is not None and not one.rest:
                one.send(said)
            elif not one.open:
                one.rest += data
                if b"\r\n\r\n" in one.rest:
                    one.open = True
                    one.send(upgraded(one.rest))
                    one.rest = b""
            else:
                plain, answers, published = not one.rest, b"", b""
                for message in one.messages(data):
                    answers += answer(message)
                    if message["method"] == "subscribe":
                        subscribed[fd] = one
                    elif message["method"] == "publish":
                        published += frame(message["payload"])
                    plain = plain and message["method"] == "order"
                one.send(answers)
                if published:
                    for other in subscribed.values():
                        other.send(published)
                if plain and not one.rest and len(known) < KNOWN:
                    known[data] = answers


if __name__ == "__main__":
    main()
