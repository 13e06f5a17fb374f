"""A WebSocket endpoint in the OpenAPI document is what the server makes of it."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from openapi.spec import ApiPath, Documents
from openapi.ws import SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.conftest import Serve
from tests.spec.conftest import Client
from tests.spec.tasks import TaskId


class Stream(ApiPath, WsPathMixin, Subscribe, Publish):
    """The stream

    Of events.
    """

    path_schema = TaskId

    async def ws_rpc_info(self, payload: dict[str, Any]) -> Any:
        """Server information"""
        return self.sockets.server_info()


class Backward(Publish, Subscribe, WsPathMixin, ApiPath):
    """The stream

    Of events.
    """

    path_schema = TaskId

    async def ws_rpc_info(self, payload: dict[str, Any]) -> Any:
        """Server information"""
        return self.sockets.server_info()


class Draining(SocketsManager):
    """A manager that says that the server shuts down."""

    @property
    def draining(self) -> bool:
        return True


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def application(view: type[ApiPath], sockets: SocketsManager) -> web.Application:
    app = web.Application()
    app["web_sockets"] = sockets
    app.router.add_view("/stream/{id}", view)
    Documents().setup(app)
    return app


@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
@pytest.mark.parametrize("view", [Stream, Backward])
async def test_a_websocket_answers_every_documented_status_and_no_other(
    view: type[ApiPath], serve: Serve, session: aiohttp.ClientSession
) -> None:
    api = Client(session, await serve(application(view, SocketsManager())))
    closing = Client(session, await serve(application(view, Draining())))
    document = (await api("GET", "/openapi.json")).data
    validate(document, cls=OpenAPIV31SpecValidator)
    get = document["paths"]["/stream/{id}"]["get"]
    assert get["description"] == (
        "Of events.\n\nA WebSocket endpoint. Its RPC methods:\n\n"
        + "\n".join(f"- `{m.name}`: {m.summary}" for m in view.rpc_methods.values())  # type: ignore[attr-defined]
    )
    assert "- `info`: Server information" in get["description"]
    assert "- `subscribe`: " in get["description"]

    async with session.ws_connect(api.url / "stream/1") as socket:
        answered = {str(socket._response.status)}
    for client, path, headers in [
        (api, "/stream/1", {}),
        (api, "/stream/1", {**UPGRADE, "Origin": "https://evil.example"}),
        (api, "/stream/x", UPGRADE),
        (api, "/stream/1", {**UPGRADE, "Sec-WebSocket-Version": "8"}),
        (closing, "/stream/1", UPGRADE),
    ]:
        answer = await client("GET", path, headers=headers)
        answered.add(str(answer.status))
        response = get["responses"][str(answer.status)]
        schema = response["content"]["application/json"]["schema"]
        components = {"components": document["components"]}
        Draft202012Validator({**schema, **components}).validate(answer.data)
    assert answered == set(get["responses"])


@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
async def test_head_opens_no_websocket(serve: Serve, session: aiohttp.ClientSession) -> None:
    api = Client(session, await serve(application(Stream, SocketsManager())))
    assert (await api("HEAD", "/stream/1", headers=UPGRADE)).status == 400
