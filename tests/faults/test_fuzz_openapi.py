"""Valid and invalid requests generated from /openapi.json: no 5xx, and answers as described."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from tests.faults.fuzzed import (
    FIRST_SEED,
    Report,
    is_meant,
    with_known,
)

if TYPE_CHECKING:
    from tests.fix_server import Server

SOAK = [pytest.mark.soak, pytest.mark.timeout(7200)]
CHECKED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
# Why a request that fits the description is refused nevertheless: because of what is stored, of the server's settings,
# or of a rule that no schema can state.
NO_FAULT_OF_THE_REQUEST = (
    "must be in the 'active' state",
    "Changing param values is not allowed",
    "must be in 'active' lifecycle_stage",
    "already exists",
    "holds a row with this key already",
    "is not a JSON object",
    "that this server could not understand",  # GET /graphql: the format knows no body of a GET
    "must not contain NUL",  # as a pattern of every text, generating requests takes 18 times as long
    # of scorers and review queues
    "serialized_scorer must be",
    "Invalid clause(s) in filter string",
    "does not use a gateway model",
    "is a reserved queue name",
    "A user queue",
    "not found for experiment",
    "Cannot specify both",
    "`completed_by`",
    "it must be the JSON text of",
    "Invalid page token",
    "holds no row that the new one refers to",
    "Each dataset record must be an object",
    # of label schemas
    "is reserved for the experiment's default question",
    "default question cannot be",
    "must have exactly one",
    "must be distinct",
    "must be deduplicated",
    "must be strictly less than",
    "cannot be changed after creation",
    "Malformed model info",
    "Invalid webhook URL scheme",
    "Invalid model version source",
    "not supported for",
    "Exactly one of run_id and model_id",
    # of the gateway
    "Exactly one of endpoint_id or name",
    "target_value is required when target_scope is",
    "target_value can only be set when target_scope is",
    "USER-scoped budget policies require",
    "Artifact path must include a filename",
    "Request must specify data",
    "Registered model alias",
    "It must be at most",
    "Either `max_timestamp_millis` or `trace_ids` must be specified",
    "Unknown assessment type",
    "metric_name must be one of",  # it depends on the view
    "must be a single path component",
    "Webhook name",
    '"x-mlflow-experiment-id"],"msg":"Field required"',
)
LONG = 10_000  # requests of a run that has the machine to itself
PER_ROUND = (
    25  # examples of one operation and mode: a round over all of them is about 4,000 requests
)


class Attack:
    """Sends cases of every operation, over and over."""

    def __init__(self, url: str, known: dict[str, list[str]]) -> None:
        self.report = Report()
        self._known = known
        self._choose = random.Random(FIRST_SEED)
        self._session = requests.Session()
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self.operations = [found.ok() for found in schema.get_all_operations()]
        self._checks = [CHECKS.get_one(name) for name in CHECKED]
        self._acceptance = CHECKS.get_one("positive_data_acceptance")

    def send(self, case: Any) -> None:
        """One request, and what its answer must be."""
        known, choose = self._known, self._choose
        is_right = case.meta.generation.mode is GenerationMode.POSITIVE
        if is_right:  # a wrong value stays where it is
            if isinstance(case.body, dict):
                case.body = with_known(case.body, known, choose)
            for part in (case.query, case.path_parameters):
                if part:
                    part.update(with_known(dict(part), known, choose))
        began_s = time.perf_counter()
        response = case.call(session=self._session)
        elapsed_s = time.perf_counter() - began_s
        what = f"{case.method} {case.path} {case.query} {case.body!r}"
        self.report.note(response.status_code, response.content, what, elapsed_s)
        if response.status_code < 500 or not is_meant(response.status_code, response.content):
            is_told_why = any(words in response.text for words in NO_FAULT_OF_THE_REQUEST)
            checks = [c for c in self._checks if not (is_told_why and c is self._acceptance)]
            case.validate_response(response, checks=checks)

    def round(self, number: int, examples: int) -> None:
        """Some cases of each operation, those that fit the description and those that do not."""
        failures: dict[str, str] = {}
        for operation in self.operations:
            described = operation.definition.raw
            places = {parameter["in"] for parameter in described.get("parameters", [])}
            can_be_wrong = "requestBody" in described or "query" in places  # any text is a path
            for mode in GenerationMode if can_be_wrong else (GenerationMode.POSITIVE,):
                cases = operation.as_strategy(generation_mode=mode)
                try:
                    self._some(cases, number, examples)
                except (AssertionError, FailureGroup) as error:
                    failures[f"{operation.method} {operation.path} {mode}"] = explained(error)
        assert not failures, "\n\n".join(f"{name}: {text}" for name, text in failures.items())

    def _some(self, cases: Any, number: int, examples: int) -> None:
        @seed(FIRST_SEED + number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def send(case: Any) -> None:
            self.send(case)

        send()


def explained(error: BaseException) -> str:
    """A failure with those inside it."""
    inner = getattr(error, "exceptions", ())
    return "\n".join([str(error)[:1500], *(f"{type(e).__name__}: {e}"[:1500] for e in inner)])


@pytest.mark.parametrize("count", [150, pytest.param(100_000, marks=SOAK)])
def test_answers_are_as_described_whatever_is_asked(
    populated_server: tuple[Server, dict[str, list[str]]],
    count: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For every native route: no 5xx; status, content type and body as in /openapi.json."""
    running, known = populated_server
    attack = Attack(running.url, known)
    number = 0
    while sum(attack.report.statuses.values()) < count:
        attack.round(number, min(PER_ROUND, max(1, count // 200)))
        number += 1
    assert running.process.poll() is None
    with capsys.disabled():
        print(f"\n{attack.report}")  # noqa: T201 what the long run is for
    if count > LONG:
        attack.report.check_slowest()
