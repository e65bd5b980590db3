"""Errors as problem documents (RFC 9457): the same form for everything that goes wrong with a request."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from apsis_nb.core.errors import ApsisError, BindError, JobErrors, NotFound, Refused
from apsis_nb.core.runs import IllegalTransition
from apsis_nb.store import StoreError
from apsis_nb.wire import to_json

log = logging.getLogger(__name__)


class Problem(ApsisError):
    """A request that cannot be answered.

    Args:
        status: of HTTP.
        detail: what is wrong with this request and, where it can be told, what would be right.
        facts: further members of the document.
    """

    def __init__(self, status: int, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.facts = status, detail, facts


#: The kind of problem that an error is; the first that fits.
_STATUS_OF: tuple[tuple[type[ApsisError], int], ...] = (
    (NotFound, 404),
    (Refused, 409),
    (IllegalTransition, 409),
    (BindError, 422),
    (JobErrors, 422),
    (StoreError, 503),
)


def problem_response(status: int, detail: str, **facts: Any) -> Response:
    """A problem document."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(to_json(document | facts), status, media_type="application/problem+json")


def problem_of(error: Exception) -> Response:
    """The document of an error that a route raised."""
    match error:
        case Problem():
            return problem_response(error.status, error.detail, **error.facts)
        case JobErrors():
            errors = [{"path": [str(p) for p in e.path], "message": e.message} for e in error.errors]
            return problem_response(422, str(error), errors=errors)
        case ApsisError():
            status = next((s for kind, s in _STATUS_OF if isinstance(error, kind)), 400)
            return problem_response(status, str(error))
        case _:
            return problem_response(
                500, "the server failed to answer; its log has the reason under this request id"
            )


def handle_problems(app: FastAPI) -> None:
    """Answer every error of the app's routes with a problem document."""

    async def apsis_error(request: Request, error: Exception) -> Response:
        return problem_of(error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path, method = request.url.path, request.method
        detail = {
            404: f"there is nothing at {path}",
            405: f"{path} takes no {method}",
            413: "the request is too large",
        }.get(error.status_code, str(error.detail))
        response = problem_response(error.status_code, detail)
        response.headers.update(error.headers or {})  # Allow, of a 405
        return response

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [
            {"path": [str(p) for p in fault["loc"]], "message": fault["msg"]} for fault in error.errors()
        ]
        detail = "; ".join(f"{'.'.join(f['path'])}: {f['message']}" for f in faults)
        return problem_response(422, detail, errors=faults)

    app.add_exception_handler(ApsisError, apsis_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, apsis_error)
