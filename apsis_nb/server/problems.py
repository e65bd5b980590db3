"""Errors as problem documents (RFC 9457): the same form for everything that goes wrong with a request."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from apsis_nb.core.errors import ApsisError, BindError, JobErrors, NotFound, Refused
from apsis_nb.core.runs import IllegalTransition
from apsis_nb.store import BackupExists, StoreError
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
    (BackupExists, 409),
    (StoreError, 503),
)


#: What may be wrong with any request.
COMMON = (400, 401, 403, 413, 422, 500, 503)
_WHEN = {
    400: "The request is no HTTP that can be read.",
    401: "The caller is not known: there is no token, or not the right one.",
    403: "The caller may not do this, or asks from the page of another site.",
    404: "There is no such thing.",
    405: "The address takes no such method.",
    409: "It cannot be done now, or more than one thing is meant; `choices` has them.",
    412: "The text has changed since it was read.",
    413: "The request is too large.",
    422: "Something in the request is not right; `detail` says what, and what would be.",
    428: "The request must say which text it replaces.",
    500: "The server failed to answer; its log has the reason under the request id.",
    503: "The run store is out of order.",
}
#: Characters of a detail: one names all that is wrong with a job, but quotes what it is about.
LONGEST = 10_000
_EXAMPLES = {
    400: "There was an error parsing the body",
    401: "who are you? send the server's token as `Authorization: Bearer TOKEN`",
    403: "bob may only read",
    404: "there is no job 'sales/reprot': did you mean sales/report?",
    405: "/api/v1/runs takes no DELETE",
    409: "can't start r1042: it has finished (success)",
    412: "sales/report has been changed since",
    413: "the request is too large: at most 1048576 bytes",
    422: "since: '27.11.' is no time",
    428: "say If-Match with the ETag of the text that you read",
    500: "the server failed to answer; its log has the reason under this request id",
    503: "the run store is out of order",
}


class ProblemDocument(BaseModel):
    """What is wrong with a request (RFC 9457)."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str = Field(examples=["about:blank"])
    title: str = Field(description="of the status", examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="what is wrong and, where it can be told, what would be right",
        examples=["there is no job 'sales/reprot': did you mean sales/report?"],
    )
    choices: list[str] | None = Field(None, description="what may be meant", examples=[["sales/report"]])
    errors: list[dict[str, Any]] | None = Field(
        None, description="the faults one by one, with the place of each", examples=[[]]
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of answers that tell of a problem, for a route's `responses`."""
    return {status: _described(status) for status in statuses}


def _described(status: int) -> dict[str, Any]:
    return {
        "description": _WHEN[status],
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": _document(status, _EXAMPLES[status]),
            }
        },
    }


def _document(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def problem_response(status: int, detail: str, **facts: Any) -> Response:
    """A problem document; what a request said at great length is not said back."""
    if len(detail) > LONGEST:
        detail = f"{detail[: LONGEST // 2]} … {detail[-LONGEST // 2 :]}"
    return Response(to_json(_document(status, detail) | facts), status, media_type="application/problem+json")


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
        said = request.headers.get("content-type", "none")
        if ["body"] in (f["path"] for f in faults) and "json" not in said:
            detail = f"the body is read as JSON only with `Content-Type: application/json`, not with {said}"
        return problem_response(422, detail, errors=faults)

    app.add_exception_handler(ApsisError, apsis_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, apsis_error)
