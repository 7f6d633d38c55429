"""headrace's errors as the exceptions that MLflow's stores raise."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.errors import DatabaseError, Retryable, Unavailable
from headrace.db.schema.facts import UnusableDatabase
from headrace.plugin.generation import HAS_OUR_RULES

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
F = TypeVar("F", bound="Callable[..., Any]")
_CODES: Final = {
    code: number for code in ErrorCode if (number := getattr(codes, code.value, None)) is not None
}


class Unusual(Exception):
    """An argument that only MLflow's own method knows how to take (or how to refuse)."""


def exception_of(error: ApiError | DatabaseError) -> MlflowException:
    """The exception of an error: same code and message as a server would answer."""
    if isinstance(error, ApiError):
        if (
            error.code is ErrorCode.REQUEST_LIMIT_EXCEEDED
        ):  # MLflow's own store knows one code for both
            return MlflowException(error.message, codes.TEMPORARILY_UNAVAILABLE)
        return MlflowException(error.message, _CODES.get(error.code, codes.INTERNAL_ERROR))
    temporary = isinstance(error, Unavailable | Retryable)
    return MlflowException(
        error.text, codes.TEMPORARILY_UNAVAILABLE if temporary else codes.BAD_REQUEST
    )


def native(method: F) -> F:
    """A method that headrace serves; for `Unusual` arguments the inherited one of that name does."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (ApiError, DatabaseError) as error:
            if (
                HAS_OUR_RULES
                or getattr(error, "code", None) is not ErrorCode.INVALID_PARAMETER_VALUE
            ):
                raise exception_of(error) from error
            # headrace has the limits of MLflow 3.17; nothing is written, so those of this mlflow may decide.
            return getattr(self.inherited, name)(*args, **kwargs)
        except UnusableDatabase as error:
            # MLflow's store can work with it, or has its own words about why not.
            log.info("MLflow's own store is used: %s", error)
            return getattr(self.inherited, name)(*args, **kwargs)
        except (Unusual, UnicodeError, OverflowError):
            return getattr(self.inherited, name)(*args, **kwargs)

    return cast("F", call)
