"""The information of a trace, in the forms of MLflow 3 and MLflow 2."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.api.traces import rfc3339
from headrace.api.traces.traces.write_types import TraceInfoIn
from headrace.transfer.records import Trace, unreadable

RUNNING: Final = "IN_PROGRESS"


def trace_of(place: object, found: dict[str, Any]) -> Trace:
    """Return a trace. Raises INVALID_PARAMETER_VALUE, which names `place`."""
    try:
        info = msgspec.convert(_of_mlflow_3(found), TraceInfoIn, strict=False)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError) as error:
        raise unreadable(place, error) from error
    return Trace(info.trace_id or "", info, ended=info.state != RUNNING)


def _of_mlflow_3(found: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of MLflow 3 from those of a file store or of MLflow 2 (times in milliseconds)."""
    fields = {name: found[name] for name in TraceInfoIn.__struct_fields__ if name in found}
    if "request_id" in found:
        fields["trace_id"] = found["request_id"]
    if "status" in found:
        fields["state"] = found["status"]
    started = found.get("timestamp_ms")
    if started is not None:
        fields["request_time"] = rfc3339.timestamp(int(started))
    took = found.get("execution_duration_ms", found.get("execution_time_ms"))
    if took is not None:
        fields["execution_duration"] = rfc3339.duration(int(took))
    for name, pairs in (
        ("tags", found.get("tags")),
        ("trace_metadata", found.get("request_metadata")),
    ):
        if isinstance(pairs, list):
            fields[name] = {one["key"]: one.get("value") or "" for one in pairs}
    return fields
