"""Typed HTTP endpoints, and the documents that are written from them."""

from openapi.spec.describe import OpenApiInfo
from openapi.spec.operation import Operation, op
from openapi.spec.path import ApiPath, full_url
from openapi.spec.routes import Documents

OpenApi = OpenApiInfo
"""The name that it had first."""

__all__ = ["ApiPath", "Documents", "OpenApi", "OpenApiInfo", "Operation", "full_url", "op"]
