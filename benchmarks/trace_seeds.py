"""Traces that exist before a case is measured, of 10 spans each, as MLflow 3.17 stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.seeds import Dialect

START_MS: Final = 1_700_000_000_000
TRACES: Final = 10_000
SPANS_PER_TRACE: Final = 10
EXPERIMENT: Final = 900_005
TRACES_PER_SESSION: Final = 10
# Every tenth trace has the value of the tag that a case searches for.
TAG: Final = "env"
MANY_TRACES: Final = 50_000
MANY_EXPERIMENT: Final = 900_006
# The name of a span of every 500th of the many traces.
SELDOM: Final = "seldom"
SELDOM_EVERY: Final = 500
# One span of one trace has this word.
RARE_TRACE: Final = 4321
RARE_WORD: Final = "zanzibar"
_METADATA: Final = ("mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.traceInputs")
_STORED: Final = (
    '{"trace_id": "AAAAAAAAAAAAAAAAAAAAAQ==", "span_id": "AAAAAAAAAAE=", "parent_span_id": PARENT,'
    ' "name": "NAME", "start_time_unix_nano": 1760000000000000000, "end_time_unix_nano":'
    ' 1760000001000000000, "events": [], "status": {"code": "STATUS_CODE_OK", "message": ""},'
    ' "attributes": {"mlflow.traceRequestId": "\\"tr-0\\"", "mlflow.spanType": "\\"TOOL\\"",'
    ' "mlflow.spanInputs": "{\\"q\\": \\"WORDS\\"}", "n": "5"}, "links": []}'
)


def trace_id(index: int, prefix: str = "tr-") -> str:
    return f"{prefix}{index:030x}"


def statements(d: Dialect) -> list[str]:
    """Return the SQL that writes the traces of EXPERIMENT, which must exist."""
    return _traces(d, "tr-", EXPERIMENT, TRACES)


def many_statements(d: Dialect) -> list[str]:
    """Return the SQL that writes the traces of MANY_EXPERIMENT, which must exist."""
    seldom = (
        f"UPDATE spans SET name = '{SELDOM}' WHERE name = 'step 5' AND trace_id IN"
        f" (SELECT {d.hex_id('tm-', f'i * {SELDOM_EVERY}')}"
        f" FROM {d.series(MANY_TRACES // SELDOM_EVERY)})"
    )
    return [*_traces(d, "tm-", MANY_EXPERIMENT, MANY_TRACES), seldom]


def _traces(d: Dialect, prefix: str, experiment: int, count: int) -> list[str]:
    key, traces = d.hex_id(prefix), d.series(count)
    start = d.big(f"({START_MS} + {d.big('i')} * 1000)")
    infos = {
        "request_id": key,
        "experiment_id": str(experiment),
        "timestamp_ms": start,
        "execution_time_ms": "100 + i % 5000",
        "status": "CASE WHEN i % 20 = 0 THEN 'ERROR' ELSE 'OK' END",
        "request_preview": f"'{'question ' * 12}'",
        "response_preview": f"'{'answer ' * 12}'",
        "db_payload_generation": "1",
        "trace_name": "'agent'",
        "session_id": f"'session-' || (i / {TRACES_PER_SESSION})",
        "input_tokens": "i % 1000",
        "output_tokens": "i % 500",
        "total_tokens": "i % 1500",
    }
    tags = {
        "mlflow.trace.spansLocation": "'TRACKING_STORE'",
        "mlflow.artifactLocation": f"'mlflow-artifacts:/{experiment}/traces/artifacts'",
        TAG: "CASE WHEN i % 10 = 0 THEN 'prod' ELSE 'dev' END",
    }
    rows = [("trace_tags", name, value) for name, value in tags.items()]
    rows += [("trace_request_metadata", name, "'value ' || i") for name in _METADATA]
    pairs = [
        d.insert(table, {"request_id": key, "key": f"'{name}'", "value": value}, traces)
        for table, name, value in rows
    ]
    rare = (
        f"UPDATE spans SET content = replace(content, 'lorem ipsum lorem', '{RARE_WORD} lorem')"
        f" WHERE trace_id = '{trace_id(RARE_TRACE, prefix)}' AND name = 'step 5'"
    )
    spans = _spans(d, key, start, experiment, count)
    return [d.insert("trace_info", infos, traces), *pairs, *spans, rare]


def _spans(d: Dialect, key: str, start_ms: str, experiment: int, count: int) -> list[str]:
    made = []
    for number in range(SPANS_PER_TRACE):
        parent = "'0000000000000000'" if number else "NULL"
        stored = _STORED.replace("PARENT", '"AAAAAAAAAAE="' if number else "null")
        stored = stored.replace("NAME", f"step {number}").replace("WORDS", "lorem ipsum " * 20)
        columns = {
            "trace_id": key,
            "experiment_id": str(experiment),
            "span_id": f"'{number:016x}'",
            "parent_span_id": parent,
            "name": f"'step {number}'",
            "type": "'LLM'" if number % 3 == 0 else "'TOOL'",
            "status": "'OK'",
            "start_time_unix_nano": f"{start_ms} * 1000000 + {number}",
            "end_time_unix_nano": f"{start_ms} * 1000000 + {number + 1} * 1000000",
            "content": f"'{stored}'",
        }
        made.append(d.insert("spans", columns, d.series(count)))
    return made
