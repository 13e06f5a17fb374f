"""The OpenAPI document of a description."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from openapi.spec import ApiPath, OpenApi, OpenApiInfo, op
from openapi.spec.describe import describe
from openapi.spec.openapi31 import openapi31
from tests.spec.tasks import (
    BulkPath,
    FormPath,
    HiddenPath,
    PlainPath,
    RpcMixin,
    StreamPath,
    TaskPath,
    TasksPath,
)

T = TypeVar("T")
Route = tuple[str, str, type[ApiPath]]

ROUTES: list[Route] = [
    ("/tasks", "*", TasksPath),
    ("/tasks/{id}", "*", TaskPath),
    ("/bulk", "*", BulkPath),
    ("/form", "*", FormPath),
    ("/plain/{anything}", "*", PlainPath),
    ("/hidden", "*", HiddenPath),
    ("/stream", "*", StreamPath),
]


def document(*routes: Route, info: OpenApiInfo | None = None, **options: Any) -> dict[str, Any]:
    """The document of the routes, which is valid."""
    written = openapi31(describe(info or OpenApiInfo(), routes), **options)
    validate(written, cls=OpenAPIV31SpecValidator)
    return written


def refs(part: object) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(refs, part.values()))
    return set().union(*map(refs, part)) if isinstance(part, list) else set()


def test_an_application_with_one_of_everything_has_a_valid_document() -> None:
    written = document(*ROUTES)
    assert written["openapi"] == "3.1.0"
    assert written["info"] == {"title": "Open API", "version": "0.1.0"}
    assert list(written["paths"]) == [path for path, _, _ in ROUTES if path != "/hidden"]
    ids = Counter(
        operation["operationId"]
        for item in written["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    )
    assert set(ids.values()) == {1}


def test_an_application_without_endpoints_has_a_valid_document() -> None:
    assert document() == {
        "openapi": "3.1.0",
        "info": {"title": "Open API", "version": "0.1.0"},
        "paths": {},
    }


def test_the_components_are_exactly_what_the_paths_refer_to() -> None:
    written = document(*ROUTES)
    names = {f"#/components/schemas/{name}" for name in written["components"]["schemas"]}
    assert names == refs(written)
    assert "#/components/schemas/Filters" not in names
    assert "#/components/schemas/ValidationErrors" in names


def test_the_query_is_documented_variable_by_variable() -> None:
    limit, done, tag = document(*ROUTES)["paths"]["/tasks"]["get"]["parameters"]
    assert limit == {
        "name": "limit",
        "in": "query",
        "description": "How many at most",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
    }
    assert (done["name"], "required" in done) == ("done", False)
    assert tag["schema"]["type"] == "array"


def test_a_required_variable_of_the_query_is_so_in_the_document() -> None:
    @dataclass
    class Query:
        q: str

    class Search(ApiPath):
        @op(query_schema=Query)
        async def get(self) -> None: ...

    (q,) = document(("/search", "*", Search))["paths"]["/search"]["get"]["parameters"]
    assert q == {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}}


def test_path_variables_have_the_declared_type_or_are_strings() -> None:
    paths = document(*ROUTES)["paths"]
    (typed,) = paths["/tasks/{id}"]["get"]["parameters"]
    assert typed["schema"].pop("type") == "integer"
    assert typed["schema"].keys() == {"minimum", "maximum"}  # those of 64 bits
    assert (typed["name"], typed["in"], typed["required"]) == ("id", "path", True)
    (untyped,) = paths["/plain/{anything}"]["get"]["parameters"]
    assert untyped["schema"] == {"type": "string"}


def test_the_body_is_documented_under_its_media_type() -> None:
    paths = document(*ROUTES)["paths"]
    assert paths["/tasks"]["post"]["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewTask"}}},
    }
    form = paths["/form"]["post"]["requestBody"]["content"]
    assert list(form) == ["application/x-www-form-urlencoded"]


def test_responses_have_the_declared_schema_and_errors_theirs() -> None:
    responses = document(*ROUTES)["paths"]["/tasks"]["post"]["responses"]
    assert list(responses) == ["201", "400", "409", "413", "422"]
    schemas = {
        status: response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for status, response in responses.items()
        if "content" in response
    }
    assert schemas == {
        "201": "Task",
        "400": "ErrorMessage",
        "413": "ErrorMessage",
        "422": "ValidationErrors",
    }


def test_a_deprecated_method_is_so_in_the_document() -> None:
    paths = document(*ROUTES)["paths"]
    assert paths["/tasks/{id}"]["patch"]["deprecated"] is True
    assert "deprecated" not in paths["/tasks/{id}"]["get"]


def test_a_websocket_lists_its_rpc_methods() -> None:
    stream = document(*ROUTES)["paths"]["/stream"]["get"]
    assert stream["description"] == (
        "Of events.\n\nA WebSocket endpoint. Its RPC methods:\n\n- `add`: Add a person\n- `bare`"
    )
    assert list(stream["responses"]) == ["101", "400", "403", "426", "503"]
    assert "content" not in stream["responses"]["101"]


def test_a_websocket_without_rpc_methods_is_one_all_the_same() -> None:
    class Silent(RpcMixin, ApiPath): ...

    get = document(("/stream", "*", Silent))["paths"]["/stream"]["get"]
    assert get["description"] == "A WebSocket endpoint."


def test_the_author_says_what_the_api_is() -> None:
    info = OpenApi(
        title="Tasks",
        version="1.0",
        description="Of *all* kinds",
        termsOfService="https://example.com/terms",
        contact={"email": "a@example.com"},
        license={"name": "MIT", "identifier": "MIT"},
    )
    written = document(
        info=info,
        servers=["https://example.com/api", {"url": "/", "description": "here"}],
        tags={"Task": "What is to be done", "Unused": ""},
        security={
            "bearer": {"type": "http", "scheme": "bearer"},
            "login": {
                "type": "openIdConnect",
                "openIdConnectUrl": "https://example.com/.well-known",
                "scopes": ["read"],
            },
        },
    )
    assert written["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert written["info"]["description"] == "Of *all* kinds"
    assert written["servers"][0] == {"url": "https://example.com/api"}
    assert written["security"] == [{"bearer": []}, {"login": ["read"]}]
    assert "scopes" not in written["components"]["securitySchemes"]["login"]
    assert written["tags"] == [
        {"name": "Task", "description": "What is to be done"},
        {"name": "Unused"},
    ]


def test_tags_that_nobody_described_are_listed() -> None:
    assert document(*ROUTES, tags={"Stream": "Live"})["tags"] == [
        {"name": "Stream", "description": "Live"},
        {"name": "Task"},
        {"name": "Change"},
    ]


def test_a_path_that_openapi_cannot_tell_from_another_is_left_out_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Other(ApiPath):
        @op()
        async def get(self) -> None: ...

    with caplog.at_level(logging.WARNING):
        written = document(("/tasks/{id}", "*", TaskPath), ("/tasks/{name}", "*", Other))
    assert list(written["paths"]) == ["/tasks/{id}"]
    assert "/tasks/{name} is left out of the OpenAPI document" in caplog.text


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: "Page[T] | None" = None


@dataclass
class ErrorMessage:
    """Not the library's"""

    code: int


def test_generic_recursive_and_equally_named_types_are_valid() -> None:
    class Pages(ApiPath):
        @op(body_schema=ErrorMessage, response_schema=Page[int])
        async def post(self) -> None: ...

        @op(body_schema=Page[str], response_schema=list[Page[ErrorMessage]])
        async def put(self) -> None: ...

    written = document(("/pages", "*", Pages))
    post = written["paths"]["/pages"]["post"]
    own = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    library = post["responses"]["400"]["content"]["application/json"]["schema"]["$ref"]
    assert own != library
    schemas = written["components"]["schemas"]
    assert set(schemas[own.rpartition("/")[2]]["properties"]) == {"code"}
    assert set(schemas[library.rpartition("/")[2]]["properties"]) == {"message"}
