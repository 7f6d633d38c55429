"""Conversion of errors to MLflow's exceptions, and the fallback to MLflow's own methods."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.errors import DatabaseError, Retryable, Unavailable
from headrace.db.schema.facts import UnusableDatabase
from headrace.plugin.mlflow_versions import HAS_SAME_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
F = TypeVar("F", bound="Callable[..., Any]")
_CODES: Final = {
    code: number for code in ErrorCode if (number := getattr(codes, code.value, None)) is not None
}


class Unsupported(Exception):
    """Only MLflow's own method can handle (or reject) this call."""


def mlflow_exception(error: ApiError | DatabaseError) -> MlflowException:
    """Convert an error to the exception that a client of a server would get: same code and message."""
    if isinstance(error, ApiError):
        # MLflow's own store has one code for both kinds of unavailability.
        if error.code is ErrorCode.REQUEST_LIMIT_EXCEEDED:
            return MlflowException(error.message, codes.TEMPORARILY_UNAVAILABLE)
        return MlflowException(error.message, _CODES.get(error.code, codes.INTERNAL_ERROR))
    temporary = isinstance(error, Unavailable | Retryable)
    return MlflowException(
        error.text, codes.TEMPORARILY_UNAVAILABLE if temporary else codes.BAD_REQUEST
    )


def with_fallback(method: F) -> F:
    """Decorate a method of a store: if it raises Unsupported, call the inherited method instead."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (ApiError, DatabaseError) as error:
            if (
                HAS_SAME_LIMITS
                or getattr(error, "code", None) is not ErrorCode.INVALID_PARAMETER_VALUE
            ):
                raise mlflow_exception(error) from error
            # headrace has the limits of MLflow 3.17. Nothing is written, so this mlflow can apply its own.
            return getattr(self.inherited, name)(*args, **kwargs)
        except UnusableDatabase as error:
            # MLflow's store may be able to use the database, or raises its own error.
            log.info("using MLflow's own store: %s", error)
            return getattr(self.inherited, name)(*args, **kwargs)
        except (Unsupported, UnicodeError, OverflowError):
            return getattr(self.inherited, name)(*args, **kwargs)

    return cast("F", call)
