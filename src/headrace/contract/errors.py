"""MLflow's error codes, their HTTP statuses, and the exception that handlers raise.

A message that several modules need has a constructor here. The mapping of codes to statuses is MLflow's.
"""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final

from headrace.error import Error

# A value of `retry_after_s` that http/outage.py replaces with a delay that grows with the outage.
RETRY_AFTER_FROM_OUTAGE: Final = -1
MAX_MESSAGE: Final = 100_000  # characters; a message repeats values of the request
OVERLOAD_RETRY_S: Final = (2, 8)  # range of the random delay of clients of an overloaded server


class ErrorCode(StrEnum):
    """MLflow's error codes, as they appear in `error_code` of an error body."""

    INTERNAL_ERROR = "INTERNAL_ERROR"
    TEMPORARILY_UNAVAILABLE = "TEMPORARILY_UNAVAILABLE"
    BAD_REQUEST = "BAD_REQUEST"
    INVALID_PARAMETER_VALUE = "INVALID_PARAMETER_VALUE"
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    INVALID_STATE = "INVALID_STATE"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FEATURE_DISABLED = "FEATURE_DISABLED"
    CUSTOMER_UNAUTHORIZED = "CUSTOMER_UNAUTHORIZED"
    REQUEST_LIMIT_EXCEEDED = "REQUEST_LIMIT_EXCEEDED"
    RESOURCE_CONFLICT = "RESOURCE_CONFLICT"
    RESOURCE_ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
    RESOURCE_DOES_NOT_EXIST = "RESOURCE_DOES_NOT_EXIST"
    NOT_FOUND = "NOT_FOUND"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    DATA_LOSS = "DATA_LOSS"


HTTP_STATUS: Final = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.INVALID_PARAMETER_VALUE: 400,
    ErrorCode.RESOURCE_ALREADY_EXISTS: 400,
    ErrorCode.CUSTOMER_UNAUTHORIZED: 401,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.RESOURCE_DOES_NOT_EXIST: 404,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.ENDPOINT_NOT_FOUND: 404,
    ErrorCode.ABORTED: 409,
    ErrorCode.RESOURCE_CONFLICT: 409,
    ErrorCode.ALREADY_EXISTS: 409,
    ErrorCode.REQUEST_LIMIT_EXCEEDED: 429,
    ErrorCode.RESOURCE_EXHAUSTED: 429,
    ErrorCode.CANCELLED: 499,
    ErrorCode.NOT_IMPLEMENTED: 501,
    ErrorCode.TEMPORARILY_UNAVAILABLE: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
}

# error_class per code; a code that is absent here has neither sqlstate nor error_class in its body.
ERROR_CLASS: Final = {
    ErrorCode.INVALID_PARAMETER_VALUE: "INVALID_PARAMETER_VALUE",
    ErrorCode.BAD_REQUEST: "INVALID_PARAMETER_VALUE",
    ErrorCode.RESOURCE_DOES_NOT_EXIST: "RESOURCE_NOT_FOUND",
    ErrorCode.NOT_FOUND: "RESOURCE_NOT_FOUND",
    ErrorCode.ENDPOINT_NOT_FOUND: "RESOURCE_NOT_FOUND",
    ErrorCode.RESOURCE_ALREADY_EXISTS: "RESOURCE_ALREADY_EXISTS",
    ErrorCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    ErrorCode.CUSTOMER_UNAUTHORIZED: "PERMISSION_DENIED",
    ErrorCode.INTERNAL_ERROR: "CLIENT_INTERNAL_ERROR",
    ErrorCode.INVALID_STATE: "CLIENT_INTERNAL_ERROR",
    ErrorCode.TEMPORARILY_UNAVAILABLE: "CLIENT_INTERNAL_ERROR",
    ErrorCode.FEATURE_DISABLED: "FEATURE_DISABLED",
}

SERVER_FAULTS: Final = frozenset(
    {ErrorCode.INTERNAL_ERROR, ErrorCode.INVALID_STATE, ErrorCode.TEMPORARILY_UNAVAILABLE}
)


class ApiError(Error):
    """A request that failed, with MLflow's error code and message.

    Nothing has been written, except possibly if the HTTP status is 503. `retry_after_s` becomes a
    `Retry-After` header, which MLflow's clients obey on 429 and 503; with RETRY_AFTER_FROM_OUTAGE the
    server chooses the delay. `sqlstate` and `error_class` default to MLflow's values for the code.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        retry_after_s: int | None = None,
        sqlstate: str | None = None,
        error_class: str | None = None,
    ) -> None:
        if len(message) > MAX_MESSAGE:
            message = message[:MAX_MESSAGE] + "…"
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        default_class = ERROR_CLASS.get(code)
        default_state = "XXM00" if code in SERVER_FAULTS else "KAM00"
        self.error_class = error_class or default_class
        self.sqlstate = sqlstate or (default_state if default_class else None)

    @property
    def status(self) -> int:
        """The HTTP status of the response."""
        return HTTP_STATUS.get(self.code, 500)

    def body(self) -> dict[str, str | bool]:
        """Return the JSON object of the response, from which MLflow's clients read code and message."""
        body: dict[str, str | bool] = {"error_code": self.code.value, "message": self.message}
        if self.sqlstate:
            body["sqlstate"] = self.sqlstate
        if self.error_class:
            body["error_class"] = self.error_class
        return body


class DirectTransferOnly(ApiError):
    """The bytes of an artifact were sent to, or asked of, a server with --artifacts-presigned-only."""

    def __init__(self, done: str, again: str) -> None:
        super().__init__(
            ErrorCode.PERMISSION_DENIED,
            f"This server requires artifacts to be {done} storage. Upgrade your MLflow client to "
            "MLflow 3.18.0 or a newer version with presigned-only artifact support, then retry the "
            f"{again}. If you are using the MLflow UI, reload the page to refresh the server settings.",
        )

    def body(self) -> dict[str, str | bool]:
        """Return the JSON object of the response, with the field that MLflow's clients look for."""
        return super().body() | {"artifacts_presigned_only": True}


def invalid(message: str) -> ApiError:
    """INVALID_PARAMETER_VALUE with this message."""
    return ApiError(ErrorCode.INVALID_PARAMETER_VALUE, message)


def not_found(message: str) -> ApiError:
    """RESOURCE_DOES_NOT_EXIST with this message."""
    return ApiError(ErrorCode.RESOURCE_DOES_NOT_EXIST, message)


def missing_parameter(name: str) -> ApiError:
    """A required request field is absent, null or empty."""
    return invalid(
        f"Missing value for required parameter '{name}'. "
        "See the API docs for more information about request parameters."
    )


def experiment_not_found(experiment_id: str | int) -> ApiError:
    """No experiment has this id, or not in the requested lifecycle stage."""
    return not_found(f"No Experiment with id={experiment_id} exists")


def run_not_found(run_id: str) -> ApiError:
    """No run has this id."""
    return not_found(f"Run with id={run_id} not found")


def label_schema_not_found(schema_id: str) -> ApiError:
    """No label schema has this id."""
    return not_found(f"Label schema with id '{schema_id}' not found.")


def review_queue_not_found(queue_id: str) -> ApiError:
    """No review queue has this id."""
    return not_found(f"Review queue with id '{queue_id}' not found.")


def too_long(name: str, limit: int) -> ApiError:
    """A string exceeds a limit in characters."""
    return invalid(f"'{name}' exceeds the maximum length of {limit} characters")


def unavailable(message: str) -> ApiError:
    """503: a store is unavailable, or it is unknown whether the request was carried out.

    Clients from MLflow 3.18 on retry it only if the request is idempotent.
    """
    return ApiError(
        ErrorCode.TEMPORARILY_UNAVAILABLE, message, retry_after_s=RETRY_AFTER_FROM_OUTAGE
    )


def unavailable_unwritten(message: str) -> ApiError:
    """429: the database is unavailable and nothing was written. Every client retries it."""
    return ApiError(
        ErrorCode.REQUEST_LIMIT_EXCEEDED, message, retry_after_s=RETRY_AFTER_FROM_OUTAGE
    )


def overloaded(message: str) -> ApiError:
    """429: this process has too many requests, and nothing was written. Clients retry after seconds."""
    return ApiError(
        ErrorCode.REQUEST_LIMIT_EXCEEDED, message, retry_after_s=random.randint(*OVERLOAD_RETRY_S)
    )
