"""ApiPath and op, over a real server."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import aiohttp
import attrs
import msgspec
import pydantic
import pytest
from aiohttp import hdrs, web
from aiohttp.test_utils import make_mocked_request
from multidict import MultiDict
from yarl import URL

from openapi.errors import DeclarationError, InvalidData
from openapi.schema import MAX_FAULTS, Schema
from openapi.spec import ApiPath, Operation, full_url, op
from openapi.spec.operation import METHODS
from tests.conftest import Serve
from tests.spec.conftest import Client
from tests.spec.tasks import Filters, NewTask, Person, StreamPath, Task, TaskId, TasksPath


async def served(
    serve: Serve, session: aiohttp.ClientSession, *views: type[ApiPath], **options: Any
) -> Client:
    """A client of these views, each served under its name in lower case."""
    app = web.Application(**options)
    for view in views:
        app.router.add_view(f"/{view.__name__.lower()}", view)
    return Client(session, await serve(app))


# ---- what goes well


async def test_a_body_becomes_an_instance_and_the_answer_has_the_declared_status(
    api: Client,
) -> None:
    answer = await api("POST", "/tasks", json={"title": "eat", "due": "2026-01-02"})
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.data == {
        "title": "eat",
        "severity": "low",
        "due": "2026-01-02",
        "people": [],
        "id": 1,
    }


async def test_data_that_a_handler_returns_lose_the_fields_that_are_not_declared(
    api: Client,
) -> None:
    answer = await api("GET", "/tasks?tag=a&tag=b&limit=1")
    assert answer.status == 200
    assert [task["title"] for task in answer.data] == ["a"]
    assert "secret" not in answer.data[0]


async def test_one_value_in_the_query_is_a_list_of_one(api: Client) -> None:
    assert [task["title"] for task in (await api("GET", "/tasks?tag=a")).data] == ["a"]


async def test_a_list_of_models_is_a_body(api: Client) -> None:
    answer = await api("POST", "/bulk", json=[{"title": "a"}, {"title": "b"}])
    assert (answer.status, answer.data) == (200, ["a", "b"])


async def test_path_variables_become_what_the_schema_says(api: Client) -> None:
    assert (await api("GET", "/tasks/7")).data["id"] == 7


async def test_insert_data_is_the_body_with_the_path_over_it(api: Client) -> None:
    answer = await api("PATCH", "/tasks/7", json={"title": "x"})
    assert (answer.status, answer.data) == (200, {"title": "x", "id": 7})


async def test_nothing_returned_is_an_empty_204(api: Client) -> None:
    answer = await api("DELETE", "/tasks/7")
    assert (answer.status, answer.data) == (204, "")


async def test_nan_is_sent_as_null(api: Client) -> None:
    assert (await api("GET", "/plain")).data["nan"] is None


async def test_a_form_is_validated_as_strings(api: Client) -> None:
    answer = await api("POST", "/form", data={"name": "Ann", "age": "30"})
    assert (answer.status, answer.data) == (200, {"name": "Ann", "age": 30})
    answer = await api("POST", "/form", data={"name": "Ann", "age": "old"})
    assert (answer.status, answer.data["errors"][0]["field"]) == (422, "age")


async def test_get_answers_head_without_a_body(api: Client) -> None:
    answer = await api("HEAD", "/tasks?tag=a")
    assert (answer.status, answer.data) == (200, "")
    assert int(answer.headers["Content-Length"]) > 2
    assert (await api("HEAD", "/tasks?limit=x")).status == 422
    assert (await api("HEAD", "/bulk")).status == 405


async def test_other_methods_are_405_and_named(api: Client) -> None:
    answer = await api("PUT", "/tasks")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET,HEAD,POST"
    assert (await api("OPTIONS", "/tasks")).status == 405


async def test_a_view_may_answer_options_and_head_itself(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    class Own(ApiPath):
        @op(response=204)
        async def options(self) -> None: ...

        @op(response=204)
        async def head(self) -> None: ...

        @op()
        async def get(self) -> dict[str, str]:
            return {}

    api = await served(serve, session, Own)
    assert (await api("OPTIONS", "/own")).status == 204
    assert (await api("HEAD", "/own")).status == 204


# ---- what clients do wrong


async def test_every_faulty_field_is_named_at_once(api: Client) -> None:
    body = {
        "title": "",
        "severity": "odd",
        "people": [{"name": "a", "age": 1}, {"age": "x"}],
        "y": 1,
    }
    answer = await api("POST", "/tasks", json=body)
    assert answer.status == 422
    assert answer.headers["Content-Type"].startswith("application/json")
    assert list(answer.data) == ["errors"]
    errors = {error["field"]: error["message"] for error in answer.data["errors"]}
    assert set(errors) == {"title", "severity", "people[1].name", "people[1].age", "y"}
    assert errors["people[1].name"] == "required"
    assert errors["y"] == "unknown field"


async def test_a_body_of_the_wrong_shape_is_an_error_of_the_whole(api: Client) -> None:
    answer = await api("POST", "/tasks", json=[1])
    assert answer.status == 422
    assert [error["field"] for error in answer.data["errors"]] == [""]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"title": NaN}',
        b'{"title": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"title": "\\ud800"}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_cannot_be_read_is_a_400(api: Client, body: bytes) -> None:
    answer = await api("POST", "/tasks", data=body)
    assert (answer.status, answer.data) == (400, {"message": "Invalid data format"})


async def test_a_number_that_is_too_large_is_a_422(api: Client) -> None:
    answer = await api("POST", "/tasks", data=b'{"title": "a", "n": [' + b"9" * 400 + b"]}")
    assert answer.status == 422
    assert answer.data["errors"] == [{"field": "n[0]", "message": "integer out of range"}]


async def test_a_body_that_is_nothing_but_a_number_that_is_too_large_is_a_422(api: Client) -> None:
    answer = await api("POST", "/tasks", data=b"99999999999999999999")
    assert answer.status == 422
    assert answer.data["errors"] == [{"field": "", "message": "integer out of range"}]


async def test_a_body_with_more_faults_than_are_told_is_a_422(api: Client) -> None:
    answer = await api("POST", "/tasks", data=b"[%s]" % b",".join([b"9" * 20] * 200))
    assert answer.status == 422
    assert len(answer.data["errors"]) == MAX_FAULTS + 1


async def test_the_content_type_and_its_charset_do_not_matter_for_json(api: Client) -> None:
    for content_type in ("text/plain", "application/json; charset=nonsense", "application/xml"):
        headers = {"Content-Type": content_type}
        answer = await api("POST", "/bulk", data='[{"title": "é"}]'.encode(), headers=headers)
        assert (answer.status, answer.data) == (200, ["é"])


@pytest.mark.parametrize("path", ["/tasks", "/form"])
async def test_a_body_that_is_too_large_is_a_413(api: Client, path: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await api("POST", path, data=b"a" * (1024**2 + 1), headers=headers)
    assert answer.status == 413
    assert answer.data == {"message": "The body is too large, at most 1048576 bytes are read"}


async def test_a_small_body_that_inflates_beyond_the_limit_is_a_413(api: Client) -> None:
    bomb = gzip.compress(b"[" + b" " * 50 * 1024**2)
    answer = await api("POST", "/tasks", data=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413


async def test_a_body_that_is_compressed_badly_is_a_400(api: Client) -> None:
    answer = await api("POST", "/tasks", data=b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.status == 400


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=nonsense", b"a=1"),
        ("application/x-www-form-urlencoded", b"\xff"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nno name\r\n--b--\r\n"),
        ("multipart/form-data", b"no boundary"),
    ],
)
async def test_a_form_that_cannot_be_read_is_a_400(
    api: Client, content_type: str, body: bytes
) -> None:
    answer = await api("POST", "/form", data=body, headers={"Content-Type": content_type})
    assert (answer.status, answer.data) == (400, {"message": "Invalid data format"})


async def test_wrong_path_variables_are_a_404_for_every_method(api: Client) -> None:
    for method in ("GET", "PATCH", "DELETE", "PUT"):
        answer = await api(method, "/tasks/none")
        assert (answer.status, answer.data) == (404, {"message": "Not found"})


async def test_a_wrong_query_names_every_faulty_variable(api: Client) -> None:
    answer = await api("GET", "/tasks?limit=1000&done=perhaps&page=1")
    assert answer.status == 422
    assert {error["field"] for error in answer.data["errors"]} == {"limit", "done", "page"}


async def test_a_variable_that_comes_twice_is_refused_where_one_is_expected(api: Client) -> None:
    answer = await api("GET", "/tasks?limit=1&limit=2")
    assert answer.status == 422
    assert answer.data["errors"][0]["field"] == "limit"


# ---- what the server does wrong


async def test_a_result_that_does_not_fit_is_a_500_and_no_422(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    class Wrong(ApiPath):
        @op(response_schema=Task)
        async def get(self) -> dict[str, int]:
            return {"title": 1}

        @op(response_schema=Task)
        async def post(self) -> web.Response:
            return self.json_response(self.dump("response_schema", {"title": 1}))

        @op()
        async def put(self) -> None: ...

        @op()
        async def patch(self) -> web.Response:
            return self.json_response(self.cleaned("body_schema", {}))

    api = await served(serve, session, Wrong)
    for method in ("GET", "POST", "PUT", "PATCH"):
        assert (await api(method, "/wrong")).status == 500


async def test_requests_at_the_same_time_keep_their_own_operation(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    both = asyncio.Barrier(2)

    class Twins(ApiPath):
        @op(response_schema=Person, response=201)
        async def put(self) -> web.Response:
            await both.wait()
            return self.json_response(self.dump("response_schema", {"name": "a", "age": 1, "x": 1}))

        @op(response_schema=TaskId, response=202)
        async def post(self) -> web.Response:
            await both.wait()
            return self.json_response(self.dump("response_schema", {"id": 1, "x": 1}))

    api = await served(serve, session, Twins)
    put, post = await asyncio.gather(api("PUT", "/twins"), api("POST", "/twins"))
    assert (put.status, put.data) == (201, {"name": "a", "age": 1})
    assert (post.status, post.data) == (202, {"id": 1})
    assert Twins.operation == Operation()


async def test_a_method_that_calls_another_gets_its_own_operation_back(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    class Nested(ApiPath):
        @op(response=201)
        async def put(self) -> dict[str, int]:
            return {"status": self.operation.response}

        @op(response=202)
        async def post(self) -> web.Response:
            inner = await self.put()
            assert inner.status == 201
            return self.json_response()

    api = await served(serve, session, Nested)
    assert (await api("POST", "/nested")).status == 202


async def test_path_variables_that_the_class_does_not_know_are_passed_over(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    class One(ApiPath):
        path_schema = TaskId

        @op()
        async def get(self) -> dict[str, Any]:
            return self.get_filters()

    app = web.Application()
    app.router.add_view("/{group}/{id}", One)
    api = Client(session, await serve(app))
    assert (await api("GET", "/g/5")).data == {"id": 5}


# ---- the tools of a handler, without a server


def view(
    path: str = "/", *, match: dict[str, str] | None = None, kind: type[ApiPath] = ApiPath
) -> ApiPath:
    return kind(make_mocked_request("GET", path, match_info=match or {}))


def test_cleaned_takes_a_type_a_schema_or_a_name() -> None:
    assert view().cleaned(TaskId, {"id": 1}) == TaskId(1)
    assert view().cleaned(Schema(TaskId), {"id": 1}) == TaskId(1)
    assert view().cleaned(list[TaskId], [{"id": 1}]) == [TaskId(1)]

    class Named(ApiPath):
        path_schema = TaskId
        note_schema = Person

    named = view(kind=Named)
    assert named.cleaned("path_schema", {"id": "1"}) == TaskId(1)
    assert named.cleaned("note_schema", {"name": "a", "age": 1}) == Person("a", 1)


def test_strings_become_numbers_in_a_query_and_nowhere_else() -> None:
    assert view().cleaned(TaskId, MultiDict(id="1")) == TaskId(1)
    with pytest.raises(web.HTTPUnprocessableEntity):
        view().cleaned(TaskId, {"id": "1"})


def test_cleaned_raises_the_error_that_it_is_given() -> None:
    with pytest.raises(RuntimeError) as caught:
        view().cleaned(TaskId, {}, Error=RuntimeError)
    assert isinstance(caught.value.__cause__, InvalidData)


def test_a_name_that_was_not_declared_says_what_to_write() -> None:
    with pytest.raises(DeclarationError) as caught:
        view(kind=TasksPath).cleaned("body_schema", {})
    assert str(caught.value) == (
        "TasksPath.get: body_schema was not declared, write @op(body_schema=...) or pass a type"
    )


def test_dump_without_a_schema_gives_the_data_back() -> None:
    data = {"a": object()}
    assert view().dump(None, data) is data
    assert view().dump("response_schema", data) is data
    assert view().dump(TaskId, TaskId(1)) == {"id": 1}
    assert view().dump(list[TaskId], [{"id": 1, "x": 2}]) == [{"id": 1}]


class TypedId(TypedDict):
    id: int


class TypedName(TypedDict):
    name: str


class StructId(msgspec.Struct):
    id: int


class EmptyStruct(msgspec.Struct):
    pass


class ModelId(pydantic.BaseModel):
    id: int


@attrs.define
class AttrsId:
    id: int


@dataclass(slots=True)
class SlottedId:
    id: int


@pytest.mark.parametrize("kind", [TypedId, StructId, ModelId, AttrsId, SlottedId])
def test_insert_data_merges_every_kind_of_class(kind: type) -> None:
    class Named(ApiPath):
        path_schema = TypedName

    named = view(match={"name": "n"}, kind=Named)
    assert named.insert_data({"id": 1}, body_schema=kind) == {"id": 1, "name": "n"}


def test_insert_data_without_a_path_is_the_body() -> None:
    assert view().insert_data({"id": 1}, body_schema=TaskId) == {"id": 1}
    assert view().insert_data({}, body_schema=EmptyStruct) == {}


def test_insert_data_refuses_what_has_no_fields() -> None:
    with pytest.raises(DeclarationError, match="list has no fields"):
        view().insert_data([], body_schema=list[TaskId])


def test_get_filters_merges_defaults_the_query_and_the_path() -> None:
    class Named(ApiPath):
        path_schema = TaskId

    named = view("/?limit=3&tag=a", match={"id": "9"}, kind=Named)
    filters = named.get_filters(query={"limit": "5", "done": "true"}, query_schema=Filters)
    assert filters == {"limit": 3, "done": True, "tag": ["a"], "id": 9}
    assert named.get_filters() == {"id": 9}
    assert view("/?any=1").get_filters() == {}


@pytest.mark.parametrize(
    ("message", "errors", "body"),
    [
        ("", None, '{"errors":[]}'),
        ("Sorry", None, '{"message":"Sorry","errors":[]}'),
        ("", "Sorry", '{"message":"Sorry","errors":[]}'),
        ("", {"a": "required"}, '{"errors":[{"field":"a","message":"required"}]}'),
    ],
)
def test_a_handler_may_raise_its_own_validation_error(
    message: str, errors: dict[str, str] | str | None, body: str
) -> None:
    with pytest.raises(web.HTTPUnprocessableEntity) as caught:
        view().raise_validation_error(message, errors)
    assert caught.value.text == body
    assert caught.value.content_type == "application/json"


def test_a_handler_may_raise_its_own_bad_data() -> None:
    cause = ValueError()
    with pytest.raises(web.HTTPBadRequest) as caught:
        view().raise_bad_data(cause, "No")
    assert caught.value.text == '{"message":"No"}'
    assert caught.value.__cause__ is cause


def test_json_response_takes_the_arguments_of_a_response() -> None:
    response = view().json_response({}, status=409, content_type="application/problem+json")
    assert (response.status, response.content_type) == (409, "application/problem+json")


def test_every_method_of_a_view_that_aiohttp_calls_is_known() -> None:
    assert {method.upper() for method in METHODS} == hdrs.METH_ALL - {hdrs.METH_CONNECT}


# ---- the URL that the client used


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://test/a?b=1"),
        ({"Proto": "https"}, "https://test/a?b=1"),
        ({"Host": "x.org"}, "http://x.org/a?b=1"),
        ({"Proto": "https", "Host": "x.org"}, "https://x.org/a?b=1"),
        ({"Proto": "https", "Host": "x.org", "Port": "443"}, "https://x.org/a?b=1"),
        ({"Proto": "https", "Host": "x.org", "Port": "8443"}, "https://x.org:8443/a?b=1"),
        ({"Proto": "https", "Host": "x.org:8443"}, "https://x.org:8443/a?b=1"),
        ({"Proto": "https, http", "Host": "x.org, proxy"}, "https://x.org/a?b=1"),
        ({"Proto": "https", "Host": "x.org", "Port": "many"}, "https://x.org/a?b=1"),
        ({"Proto": "https", "Host": "x.org", "Port": "99999"}, "http://test/a?b=1"),
        ({"Proto": "javascript", "Host": "x.org"}, "http://x.org/a?b=1"),
        ({"Proto": "https", "Host": "x.org:port"}, "http://test/a?b=1"),
        ({"Proto": "https", "Host": "/"}, "http://test/a?b=1"),
        ({"Proto": "https", "Host": "u:p@x.org/evil"}, "https://x.org/a?b=1"),
    ],
)
def test_the_full_url_follows_the_headers_of_a_proxy(headers: dict[str, str], url: str) -> None:
    sent = {f"X-Forwarded-{name}": value for name, value in headers.items()}
    request = make_mocked_request("GET", "/a?b=1", headers={"Host": "test", **sent})
    assert full_url(request) == URL(url)
    assert ApiPath(request).full_url() == URL(url)


# ---- wrong declarations


def not_async() -> None:
    class Wrong(ApiPath):
        @op()
        def get(self) -> Any: ...


def extra_argument() -> None:
    class Wrong(ApiPath):
        @op()  # type: ignore[arg-type]
        async def get(self, id: int) -> None: ...


def no_parentheses() -> None:
    class Wrong(ApiPath):
        @op
        async def get(self) -> None: ...


def positional() -> None:
    class Wrong(ApiPath):
        @op(int)
        async def get(self) -> None: ...


def unsupported_type() -> None:
    class Wrong(ApiPath):
        @op(body_schema=dict[object, type])
        async def get(self) -> None: ...


def query_that_is_no_object() -> None:
    class Wrong(ApiPath):
        @op(query_schema=list[int])
        async def get(self) -> None: ...


def query_without_names() -> None:
    class Wrong(ApiPath):
        @op(query_schema=dict[str, int])
        async def get(self) -> None: ...


def query_with_objects() -> None:
    class Wrong(ApiPath):
        @op(query_schema=NewTask)
        async def get(self) -> None: ...


def path_that_is_no_object() -> None:
    class Wrong(ApiPath):
        path_schema = int


def path_of_an_unsupported_type() -> None:
    class Wrong(ApiPath):
        path_schema = 7


def status_out_of_range() -> None:
    class Wrong(ApiPath):
        @op(response=42)
        async def get(self) -> None: ...


def other_status_out_of_range() -> None:
    class Wrong(ApiPath):
        @op(responses={"404": "No"})  # type: ignore[dict-item]
        async def get(self) -> None: ...


def body_of_a_204() -> None:
    class Wrong(ApiPath):
        @op(response=204, response_schema=int)
        async def get(self) -> None: ...


def tags_of_a_class() -> None:
    class Wrong(ApiPath):
        tags = "Task"


def tags_of_a_method() -> None:
    class Wrong(ApiPath):
        @op(tags="Task")
        async def get(self) -> None: ...


def no_http_method() -> None:
    class Wrong(ApiPath):
        @op()
        async def fetch(self) -> None: ...


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (not_async, "Wrong.get: must be async, write `async def get(self)`"),
        (extra_argument, "Wrong.get: takes nothing but self; see self.request"),
        (no_parentheses, "Wrong.get: write @op() instead of @op"),
        (positional, "@op takes keyword arguments only, as body_schema=<class 'int'>"),
        (unsupported_type, "Wrong.get: body_schema: "),
        (
            query_that_is_no_object,
            "Wrong.get: query_schema: list[int] is no class with fields; each field is one"
            " variable, so use a dataclass, a Struct, a TypedDict or the like",
        ),
        (query_without_names, "Wrong.get: query_schema: dict[str, int] is no class with fields"),
        (
            query_with_objects,
            "Wrong.get: query_schema: NewTask.people holds an object, which no query string and"
            " no path can carry; use plain values, or lists of them",
        ),
        (path_that_is_no_object, "Wrong: path_schema: int is no class with fields"),
        (path_of_an_unsupported_type, "Wrong: path_schema: "),
        (status_out_of_range, "Wrong.get: 42 is no HTTP status from 200 to 599"),
        (other_status_out_of_range, "Wrong.get: '404' is no HTTP status from 200 to 599"),
        (body_of_a_204, "Wrong.get: a response 204 has no body, so remove response_schema"),
        (tags_of_a_class, "Wrong: tags is a list of names, write tags=['Task']"),
        (tags_of_a_method, "Wrong.get: tags is a list of names, write tags=['Task']"),
        (no_http_method, "Wrong.fetch: @op belongs on an HTTP method (delete, get, head,"),
    ],
)
def test_a_wrong_declaration_fails_when_the_class_is_defined(
    define: Callable[[], None], message: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        define()
    assert str(caught.value).startswith(message)


def test_nothing_needs_to_be_declared() -> None:
    class Bare(ApiPath):
        @op(body_schema=None, query_schema=None, response_schema=None)
        async def get(self) -> None:
            """Nothing"""

    assert Bare.get.__doc__ == "Nothing"
    assert Bare.get.op == Operation()  # type: ignore[attr-defined]


def test_a_class_with_rpc_methods_may_name_its_bases_in_any_order() -> None:
    assert list(StreamPath.rpc_methods) == ["add", "bare"]
