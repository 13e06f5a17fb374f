"""A description written as an OpenAPI 3.1 document."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from openapi.spec.describe import Description, Endpoint, EndpointOperation, EndpointResponse
from openapi.spec.operation import JSON
from openapi.spec.parameters import REF, parameters_of

__all__ = ["openapi31"]

VERSION: Final = "3.1.0"

_log: Final = logging.getLogger(__name__)
_variable: Final = re.compile(r"\{[^{}]*\}")


def openapi31(
    description: Description,
    *,
    servers: Sequence[str | Mapping[str, Any]] = (),
    security: Mapping[str, Mapping[str, Any]] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The document, as plain values.

    ``servers``: URLs, or Server Objects. ``security``: ``{name: Security Scheme Object}``, any of
    which lets a request in; the scopes that it needs under the additional key ``scopes``.
    ``tags``: ``{name: description}``.
    """
    components: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    shapes: dict[str, str] = {}
    for endpoint in description.endpoints:
        # OpenAPI 3.1 section 4.8.8.2: "/a/{b}" and "/a/{c}" are identical, and invalid together.
        first = shapes.setdefault(_variable.sub("{}", endpoint.path), endpoint.path)
        if first != endpoint.path:
            _log.warning(
                "%s is left out of the OpenAPI document, which cannot tell it from %s",
                endpoint.path,
                first,
            )
            continue
        paths[endpoint.path] = _path_item(endpoint, components)
    document: dict[str, Any] = {
        "openapi": VERSION,
        "info": _given(asdict(description.info)),
        "paths": paths,
    }
    if servers:
        document["servers"] = [{"url": s} if isinstance(s, str) else dict(s) for s in servers]
    schemas = _used(paths, components)
    schemes = {name: _without_scopes(scheme) for name, scheme in (security or {}).items()}
    if schemas or schemes:
        document["components"] = _given({"schemas": schemas, "securitySchemes": schemes})
    if security:
        document["security"] = [
            {name: list(scheme.get("scopes", ()))} for name, scheme in security.items()
        ]
    named = _tags(description, tags or {})
    if named:
        document["tags"] = named
    return document


def _path_item(endpoint: Endpoint, components: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = _given(
        {"summary": endpoint.summary, "description": endpoint.description}
    )
    for operation in endpoint.operations:
        item[operation.method] = _operation(endpoint, operation, components)
    return item


def _operation(
    endpoint: Endpoint, operation: EndpointOperation, components: dict[str, Any]
) -> dict[str, Any]:
    parameters = [
        *_path_parameters(endpoint, operation, components),
        *_query_parameters(operation, components),
    ]
    body: dict[str, Any] = {}
    if operation.body_schema is not None:
        content = {
            operation.body_content: {"schema": operation.body_schema.json_schema(components)}
        }
        body = {"required": True, "content": content}
    return _given(
        {
            "operationId": operation.operation_id,
            "summary": operation.summary,
            "description": _description(operation),
            "tags": list(operation.tags),
            "deprecated": operation.deprecated,
            "parameters": parameters,
            "requestBody": body,
        }
    ) | {
        "responses": {
            "default" if response.status is None else str(response.status): _response(
                response, components
            )
            for response in operation.responses
        }
    }


def _description(operation: EndpointOperation) -> str:
    if operation.rpc is None:
        return operation.description
    lines = [
        f"- `{name}`" + (f": {method.summary}" if method.summary else "")
        for name, method in operation.rpc.items()
    ]
    listed = "A WebSocket endpoint." + (" Its RPC methods:" if lines else "")
    return "\n\n".join(part for part in (operation.description, listed, "\n".join(lines)) if part)


def _path_parameters(
    endpoint: Endpoint, operation: EndpointOperation, components: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    typed: dict[str, Mapping[str, Any]] = {}
    if operation.path_schema is not None:
        typed = {p.name: p.schema for p in parameters_of(operation.path_schema, components)}
    for name in endpoint.variables:
        schema = typed.get(name, {"type": "string"})
        yield _parameter(name, "path", schema) | {"required": True}


def _query_parameters(
    operation: EndpointOperation, components: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if operation.query_schema is None:
        return
    for parameter in parameters_of(operation.query_schema, components):
        described = _parameter(parameter.name, "query", parameter.schema)
        yield described | ({"required": True} if parameter.required else {})


def _parameter(name: str, where: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "in": where}
    if "description" in schema:
        described["description"] = schema["description"]
    rest = {key: value for key, value in schema.items() if key != "description"}
    return described | {"schema": rest}


def _response(response: EndpointResponse, components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": response.description}
    if response.schema is not None:
        described["content"] = {JSON: {"schema": response.schema.json_schema(components)}}
    return described


def _tags(description: Description, described: Mapping[str, str]) -> list[dict[str, str]]:
    used = (
        tag
        for endpoint in description.endpoints
        for operation in endpoint.operations
        for tag in operation.tags
    )
    names = dict.fromkeys((*described, *used))
    return [_given({"name": name, "description": described.get(name, "")}) for name in names]


def _without_scopes(scheme: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scheme.items() if name != "scopes"}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _used(paths: object, components: Mapping[str, Any]) -> dict[str, Any]:
    """The components that the paths lead to, by name: a type of parameters is no component."""
    used: dict[str, Any] = {}
    waiting: list[object] = [paths]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
            name = str(part.get("$ref", "")).removeprefix(REF)
            if name in components and name not in used:
                used[name] = components[name]
                waiting.append(components[name])
        elif isinstance(part, list):
            waiting.extend(part)
    return dict(sorted(used.items()))
