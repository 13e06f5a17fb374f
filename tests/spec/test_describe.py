"""Endpoints as plain data."""

from dataclasses import dataclass

import pytest
from aiohttp import web

from openapi.errors import DeclarationError
from openapi.schema import Schema
from openapi.spec import ApiPath, OpenApiInfo, op
from openapi.spec.describe import Endpoint, EndpointOperation, describe
from tests.spec.tasks import (
    BackwardPath,
    Filters,
    HiddenPath,
    PlainPath,
    StreamPath,
    TaskId,
    TaskPath,
    TasksPath,
)

INFO = OpenApiInfo()


def endpoints(*routes: tuple[str, str, type[ApiPath]]) -> dict[str, Endpoint]:
    return {endpoint.path: endpoint for endpoint in describe(INFO, routes).endpoints}


def operations(*routes: tuple[str, str, type[ApiPath]]) -> dict[str, EndpointOperation]:
    return {
        operation.operation_id: operation
        for endpoint in endpoints(*routes).values()
        for operation in endpoint.operations
    }


def statuses(operation: EndpointOperation) -> list[int | None]:
    return [response.status for response in operation.responses]


def test_an_endpoint_is_described_by_its_class_and_methods() -> None:
    endpoint = endpoints(("/tasks", "*", TasksPath))["/tasks"]
    assert (endpoint.summary, endpoint.description) == ("Tasks", "All of them.")
    get, post = endpoint.operations
    assert (get.method, get.summary, get.description) == (
        "get",
        "List tasks",
        "The newest *first*.",
    )
    assert get.query_schema is not None
    assert get.query_schema.hint is Filters
    assert statuses(get) == [200, 422]
    assert statuses(post) == [201, 400, 409, 413, 422]
    assert {r.status: r.description for r in post.responses}[409] == "It exists"


def test_path_variables_bring_a_404_to_every_method() -> None:
    described = operations(("/tasks/{id}", "*", TaskPath))
    assert list(described) == ["get_tasks_by_id", "patch_tasks_by_id", "forget"]
    assert [statuses(operation) for operation in described.values()] == [
        [200, 404],
        [200, 400, 404, 413, 422],
        [204, 404],
    ]
    assert described["patch_tasks_by_id"].tags == ("Task", "Change")
    assert described["patch_tasks_by_id"].deprecated


def test_a_method_that_declares_nothing_may_answer_anything() -> None:
    (get,) = endpoints(("/plain", "*", PlainPath))["/plain"].operations
    assert statuses(get) == [None]
    assert (get.summary, get.description) == ("", "")


def test_the_automatic_head_is_no_operation_and_a_written_one_is() -> None:
    class Own(ApiPath):
        @op()
        async def head(self) -> None: ...

        @op()
        async def get(self) -> None: ...

    assert list(operations(("/own", "*", Own))) == ["get_own", "head_own"]
    assert list(operations(("/plain", "*", PlainPath))) == ["get_plain"]


def test_what_is_private_is_left_out() -> None:
    class Half(ApiPath):
        @op(private=True)
        async def get(self) -> None: ...

        @op()
        async def put(self) -> None: ...

    assert list(operations(("/hidden", "*", HiddenPath), ("/half", "*", Half))) == ["put_half"]
    assert endpoints(("/hidden", "*", HiddenPath)) == {}


def test_a_class_without_methods_is_no_endpoint() -> None:
    class Empty(ApiPath): ...

    assert endpoints(("/", "*", Empty)) == {}


@pytest.mark.parametrize(
    ("method", "found"), [("*", ["get", "post"]), ("POST", ["post"]), ("PUT", [])]
)
def test_a_route_may_serve_one_method_only(method: str, found: list[str]) -> None:
    described = operations(("/tasks", method, TasksPath)).values()
    assert [operation.method for operation in described] == found


def test_two_classes_may_share_a_path_and_the_first_one_answers() -> None:
    @dataclass
    class Name:
        id: str

    class Other(ApiPath):
        """The other"""

        path_schema = Name

        @op()
        async def get(self) -> None: ...

        @op()
        async def post(self) -> None: ...

    endpoint = endpoints(("/tasks/{id}", "*", TaskPath), ("/tasks/{id}", "*", Other))["/tasks/{id}"]
    assert endpoint.summary == "A task"
    hints = {o.method: o.path_schema and o.path_schema.hint for o in endpoint.operations}
    assert hints == {"get": TaskId, "patch": TaskId, "delete": TaskId, "post": Name}


def test_operation_ids_are_unique_and_follow_the_route() -> None:
    class One(ApiPath):
        @op()
        async def get(self) -> None: ...

    class Chosen(ApiPath):
        @op(operation_id="get_a_b")
        async def get(self) -> None: ...

    paths = ["/", "/a-b", "/a_b", "/a/b", "/a/{b}", "/v1.0/caf%C3%A9/{x}-{y}"]
    described = operations(*((path, "*", One) for path in paths), ("/z", "*", Chosen))
    assert list(described) == [
        "get",
        "get_a_b",
        "get_a_b_2",
        "get_a_b_3",
        "get_a_by_b",
        "get_v1_0_caf_C3_A9_by_x_by_y",
        "get_a_b_4",
    ]


@pytest.mark.parametrize("kind", [StreamPath, BackwardPath])
def test_a_websocket_is_an_upgrade_with_its_rpc_methods(kind: type[ApiPath]) -> None:
    (get,) = operations(("/stream", "*", kind)).values()
    assert get.method == "get"
    assert statuses(get) == [101, 400, 403, 426, 503]
    assert get.rpc is not None
    assert list(get.rpc) == ["add", "bare"]


def test_a_websocket_is_described_by_its_class() -> None:
    (get,) = operations(("/stream", "*", StreamPath)).values()
    assert (get.summary, get.description, get.tags) == ("The stream", "Of events.", ("Stream",))
    (get,) = operations(("/stream", "*", BackwardPath)).values()
    assert (get.summary, get.description) == ("", "")


def test_a_websocket_may_answer_other_methods_and_have_path_variables() -> None:
    class Both(StreamPath):
        path_schema = TaskId

        @op(body_schema=TaskId)
        async def post(self) -> None: ...

    get, post = operations(("/{id}", "*", Both)).values()
    assert statuses(get) == [101, 400, 403, 404, 426, 503]
    assert statuses(post) == [200, 400, 404, 413, 422]
    assert post.rpc is None


def test_the_author_may_describe_the_statuses_that_the_library_answers() -> None:
    class Own(ApiPath):
        path_schema = TaskId

        @op(responses={404: "No such task", 200: "Here it is", 299: "Odd"}, response_schema=TaskId)
        async def get(self) -> web.Response:
            raise web.HTTPNotFound

    (get,) = operations(("/{id}", "*", Own)).values()
    described = {r.status: (r.description, r.schema is None) for r in get.responses}
    assert described == {
        200: ("Here it is", False),
        299: ("Odd", True),
        404: ("No such task", False),
    }


def test_a_part_of_a_docstring_for_other_tools_is_left_out() -> None:
    class Old(ApiPath):
        """
        The summary

        The rest.
        ---
        tags: [Task]
        """

        @op()
        async def get(self) -> None:
            """
            ---
            summary: in YAML
            """

    endpoint = endpoints(("/", "*", Old))["/"]
    assert (endpoint.summary, endpoint.description) == ("The summary", "The rest.")
    assert endpoint.operations[0].summary == ""


def test_a_route_without_a_variable_that_the_class_needs_is_refused() -> None:
    with pytest.raises(DeclarationError) as caught:
        endpoints(("/tasks/{name}", "*", TaskPath))
    assert str(caught.value) == (
        "TaskPath: path_schema: 'id' is required, but the route /tasks/{name} has no such"
        " variable, so every request would be a 404"
    )


def test_a_schema_may_be_given_ready_made() -> None:
    class Ready(ApiPath):
        path_schema = Schema(TaskId)

    assert Ready.path_schema.hint is TaskId
