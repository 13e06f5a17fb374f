"""The Autobahn test suite, against the whole way through aiohttp: handshake, connection, outbox."""

from pathlib import Path

import pytest

from openapi.protocol.framing import binary_frame, text_frame
from openapi.protocol.websocket import Event
from openapi.ws import Limits, SocketsManager
from openapi.ws.connection import Connection
from tests.autobahn import CASES, QUICK, QUICK_CASES, assert_conforms, run_suite
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application


class Echo(Connection):
    """Sends every message back instead of taking it for a call."""

    def _control(self, event: Event) -> None:
        # It has no dialect, so texts come here too.
        if isinstance(event, str | bytes):
            frame = text_frame if isinstance(event, str) else binary_frame
            message = event.encode() if isinstance(event, str) else event
            self._outbox.send(frame(message, self.deliveries.variant.window, compress_from=0))
        else:
            super()._control(event)


async def verdicts(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, report: Path, *options: str
) -> dict[str, tuple[str, str]]:
    monkeypatch.setattr("openapi.ws.path.Connection", Echo)
    most = 16 << 20
    limits = Limits(
        message_bytes=most,
        discard_bytes=most,
        fragments=1 << 20,
        outbox_bytes=4 * most,
        ping_interval=None,  # the suite expects no ping but its own
    )
    url = await serve(application(Endpoint, SocketsManager(limits=limits, deflate=True)))
    return await run_suite(f"{url.host}:{url.port}/stream", report, *options)


@pytest.mark.timeout(300)
async def test_every_autobahn_case_but_the_slow_ones_passes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert_conforms(await verdicts(serve, monkeypatch, tmp_path, *QUICK), QUICK_CASES)


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_every_autobahn_case_passes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert_conforms(await verdicts(serve, monkeypatch, tmp_path), CASES)
