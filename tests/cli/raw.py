"""A server that is no WebSocket's: it answers with whatever bytes a test wants."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

_PEM = Path(__file__).parent / "self_signed.pem"


@contextlib.contextmanager
def answering(answer: bytes, *, tls: bool = False) -> Iterator[str]:
    """Answer one request, and close; yields ``HOST:PORT``. An empty answer is a wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer, args=(listening, answer, tls))
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def _answer(listening: socket.socket, answer: bytes, tls: bool) -> None:
    connection, _ = listening.accept()
    with connection, contextlib.suppress(ConnectionError, ssl.SSLError):  # the client goes away
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(_PEM)
            connection = context.wrap_socket(connection, server_side=True)
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(65536)
        connection.sendall(answer)
        if not answer:
            connection.recv(1)
