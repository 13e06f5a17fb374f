"""Documents that a real server serves, held against what the server really answers."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from openapi.errors import DeclarationError
from openapi.spec import ApiPath, Documents, OpenApiInfo, op
from openapi.spec.routes import api_routes, handlers
from tests.conftest import Serve
from tests.spec.conftest import Client
from tests.spec.tasks import StreamPath, TaskPath, TasksPath, add_routes

BIG = b" " * (1024**2 + 1)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# Every operation of the application, with requests that bring each status that it may answer.
REQUESTS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "get_tasks": [
        ("GET", "/tasks?tag=a", {}),
        ("GET", "/tasks?limit=x", {}),
    ],
    "post_tasks": [
        ("POST", "/tasks", {"json": {"title": "a"}}),
        ("POST", "/tasks", {"data": b"{"}),
        ("POST", "/tasks", {"json": {"title": "known"}}),
        ("POST", "/tasks", {"data": BIG}),
        ("POST", "/tasks", {"json": {}}),
    ],
    "get_tasks_by_id": [
        ("GET", "/tasks/1", {}),
        ("GET", "/tasks/x", {}),
    ],
    "patch_tasks_by_id": [
        ("PATCH", "/tasks/1", {"json": {"title": "b"}}),
        ("PATCH", "/tasks/1", {"data": b""}),
        ("PATCH", "/tasks/x", {"json": {}}),
        ("PATCH", "/tasks/1", {"data": BIG}),
        ("PATCH", "/tasks/1", {"json": {"title": 1, "done": True}}),
    ],
    "forget": [
        ("DELETE", "/tasks/1", {}),
        ("DELETE", "/tasks/x", {}),
    ],
    "post_bulk": [
        ("POST", "/bulk", {"json": []}),
        ("POST", "/bulk", {"data": b"["}),
        ("POST", "/bulk", {"data": BIG}),
        ("POST", "/bulk", {"json": {}}),
    ],
    "post_form": [
        ("POST", "/form", {"data": {"name": "a", "age": "1"}}),
        ("POST", "/form", {"data": b"\xff", "headers": FORM}),
        ("POST", "/form", {"data": BIG, "headers": FORM}),
        ("POST", "/form", {"data": {"name": "a"}}),
    ],
    "get_plain": [("GET", "/plain", {})],
}


def inlined(schema: Any, components: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": {"schemas": components}}


async def test_every_documented_status_is_answered_as_documented_and_no_other(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    app = web.Application()
    add_routes(app)
    Documents(title="Tasks", version="1.0").setup(app)
    api = Client(session, await serve(app))
    answer = await api("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.data
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["info"] == {"title": "Tasks", "version": "1.0"}

    components = document["components"]["schemas"]
    operations = {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    }
    assert set(operations) == set(REQUESTS)
    for name, operation in operations.items():
        answered = set()
        for method, path, arguments in REQUESTS[name]:
            answer = await api(method, path, **arguments)
            status = str(answer.status)
            response = operation["responses"].get(status) or operation["responses"]["default"]
            answered.add(status if status in operation["responses"] else "default")
            if "content" in response:
                (media_type,) = response["content"]
                assert answer.headers["Content-Type"].partition(";")[0] == media_type
                schema = inlined(response["content"][media_type]["schema"], components)
                Draft202012Validator(schema).validate(answer.data)
        assert answered == set(operation["responses"]), name


async def test_bodies_are_refused_exactly_when_their_documented_schema_refuses_them(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    app = web.Application()
    add_routes(app)
    document = Documents().openapi(app)
    api = Client(session, await serve(app))
    body = document["paths"]["/tasks"]["post"]["requestBody"]["content"]["application/json"]
    schema = inlined(body["schema"], document["components"]["schemas"])
    values: tuple[Any, ...] = (
        {"title": "a"},
        {"title": "a", "people": [{"name": "a", "age": 1}], "due": None},
        {"title": "a", "severity": "high", "due": "2026-01-01"},
        {},
        [],
        {"title": ""},
        {"title": None},
        {"title": "a", "extra": 1},
        {"title": "a", "people": [{"name": "a"}]},
        {"title": "a", "people": [{"name": "a", "age": True}]},
        {"title": "a", "severity": "odd"},
        {"title": "a", "due": 1},
    )
    for value in values:
        answer = await api("POST", "/tasks", json=value)
        assert answer.status == (201 if Draft202012Validator(schema).is_valid(value) else 422), (
            value
        )


async def test_the_document_answers_head_and_its_path_may_be_chosen(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    app = web.Application()
    Documents(path="/spec").setup(app)
    api = Client(session, await serve(app))
    assert (await api("HEAD", "/spec")).status == 200
    assert (await api("GET", "/spec")).data["paths"] == {}


async def plain_function(request: web.Request) -> web.Response:
    return web.Response()


async def test_sub_applications_are_shown_with_their_prefix_and_may_show_themselves(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    inner, middle, outer = web.Application(), web.Application(), web.Application()
    inner.router.add_view("", TasksPath)
    inner.router.add_view(r"/{id:\d+}", TaskPath)
    middle.add_subapp("/tasks", inner)
    Documents(title="Inner").setup(middle)
    outer.add_subapp("/v1", middle)
    outer.router.add_view("/stream", StreamPath)
    outer.router.add_get("/function", plain_function)
    outer.router.add_static("/static", ".")
    Documents().setup(outer)
    api = Client(session, await serve(outer))
    answer = await api("GET", "/openapi.json")
    validate(answer.data, cls=OpenAPIV31SpecValidator)
    assert list(answer.data["paths"]) == ["/v1/tasks", "/v1/tasks/{id}", "/stream"]
    answer = await api("GET", "/v1/openapi.json")
    assert answer.data["info"]["title"] == "Inner"
    assert list(answer.data["paths"]) == ["/v1/tasks", "/v1/tasks/{id}"]
    assert (await api("GET", "/v1/tasks/5")).data["id"] == 5


async def test_routes_that_are_added_after_the_documents_are_in_them(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    app = web.Application()
    Documents().setup(app)
    app.router.add_get("/tasks", TasksPath)
    api = Client(session, await serve(app))
    paths = (await api("GET", "/openapi.json")).data["paths"]
    assert set(paths["/tasks"]) == {"summary", "description", "get"}


async def test_a_class_that_does_not_fit_its_route_stops_the_start(serve: Serve) -> None:
    app = web.Application()
    app.router.add_view("/tasks/{name}", TaskPath)
    Documents().setup(app)
    with pytest.raises(DeclarationError, match="'id' is required"):
        await serve(app)


async def test_documents_that_come_too_late_say_so(serve: Serve) -> None:
    app = web.Application()
    await serve(app)
    with pytest.raises(DeclarationError, match="before it starts or is added to another"):
        Documents().setup(app)


def test_the_root_of_an_application_is_a_slash() -> None:
    app = web.Application()
    app.router.add_view("", TasksPath)
    assert list(api_routes(app)) == [("/", "*", TasksPath)]


def test_security_is_optional_and_shown_when_given() -> None:
    app = web.Application()
    assert "security" not in Documents(security=None).openapi(app)
    written = Documents(security={"key": {"type": "apiKey", "in": "header", "name": "X"}})
    assert written.openapi(app)["security"] == [{"key": []}]
    assert written.openapi(app) == written.openapi(app)


def test_info_is_given_whole_or_in_parts() -> None:
    app = web.Application()
    info = OpenApiInfo(title="Whole", version="2")
    assert Documents(info).openapi(app)["info"] == {"title": "Whole", "version": "2"}
    parts = Documents(title="Parts", version="3", description="x").info
    assert parts == OpenApiInfo(title="Parts", version="3", description="x")
    with pytest.raises(DeclarationError, match="title belongs into info"):
        Documents(info, title="Parts")


def test_servers_are_a_list() -> None:
    with pytest.raises(DeclarationError, match=r"servers is a list of URLs, write \['/api'\]"):
        Documents(servers="/api")


def test_what_is_no_api_path_is_no_route_of_the_api() -> None:
    class Other(web.View):
        async def get(self) -> web.Response:
            return web.Response()

    class Api(ApiPath):
        @op()
        async def get(self) -> None: ...

    app = web.Application()
    app.router.add_view("/other", Other)
    app.router.add_view("/api", Api)
    assert list(api_routes(app)) == [("/api", "*", Api)]
    assert list(handlers(app)) == [("/other", "*", Other), ("/api", "*", Api)]


def test_the_handler_of_the_document_says_what_it_is() -> None:
    app = web.Application()
    Documents().setup(app)
    found = [(path, method, handler.__doc__) for path, method, handler in handlers(app)]
    assert found == [
        ("/openapi.json", "HEAD", "OpenAPI document"),
        ("/openapi.json", "GET", "OpenAPI document"),
    ]
