"""The documented application, word for word: openapi serve examples/stream/main.py:setup_app"""
# fmt: off
# isort: skip_file
# mypy: disable-error-code="import-not-found"

from endpoint import ws_routes

# [main]
from aiohttp.web import Application
from openapi.ws import SocketsManager

def setup_app(app: Application) -> None:
    app['web_sockets'] = SocketsManager()
    app.router.add_routes(ws_routes)
# [/main]
