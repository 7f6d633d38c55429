"""Webhook deliveries for the same changes of the registry on stock and on headrace, compared."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.dialogues.webhooks import ALL
from tests.fix_server import headrace, stock
from tests.receiver import receiver
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.receiver import Received

pytestmark = pytest.mark.compat
SECRET = "s3cret"
ENVIRONMENT = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}
CREATED = {"entity": "REGISTERED_MODEL", "action": "CREATED"}
PROMPT = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
TYPED = [*PROMPT, {"key": "_mlflow_prompt_type", "value": "text"}, {"key": "t", "value": "é"}]
TEXT = [*TYPED, {"key": "mlflow.prompt.text", "value": "Hello {{x}}"}]
M, P = "model", "prompt"
# Method, path, body; most of them cause deliveries, some cause none.
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "registered-models/create", {"name": M}),
    ("POST", "registered-models/create", {"name": M}),
    ("POST", "registered-models/create", {"name": "m2", "description": "d", "tags": TYPED[2:] * 2}),
    ("POST", "registered-models/create", {"name": P, "tags": TYPED}),
    ("POST", "registered-models/set-tag", {"name": M, "key": "k", "value": "v"}),
    ("POST", "registered-models/set-tag", {"name": P, "key": "k", "value": "v"}),
    ("POST", "registered-models/set-tag", {"name": P, "key": "empty"}),
    ("DELETE", "registered-models/delete-tag", {"name": P, "key": "k"}),
    ("DELETE", "registered-models/delete-tag", {"name": P, "key": "never"}),
    ("DELETE", "registered-models/delete-tag", {"name": M, "key": "k"}),
    ("POST", "model-versions/create", {"name": M, "source": "s3://b/p", "description": "d"}),
    ("POST", "model-versions/create", {"name": M, "source": "models:/model/1", "tags": TYPED[2:]}),
    ("POST", "model-versions/create", {"name": M, "source": "s3://b/q", "run_id": "r1"}),
    ("POST", "model-versions/create", {"name": P, "source": "prompt-template", "tags": TEXT}),
    ("POST", "model-versions/create", {"name": P, "source": "prompt-template", "tags": PROMPT}),
    ("POST", "model-versions/set-tag", {"name": M, "version": "1", "key": "k", "value": "v"}),
    ("POST", "model-versions/set-tag", {"name": P, "version": "1", "key": "k", "value": "v"}),
    ("POST", "model-versions/set-tag", {"name": M, "version": "9", "key": "k", "value": "v"}),
    ("DELETE", "model-versions/delete-tag", {"name": M, "version": "1", "key": "k"}),
    ("DELETE", "model-versions/delete-tag", {"name": P, "version": "1", "key": "k"}),
    ("POST", "registered-models/alias", {"name": M, "alias": "a", "version": "1"}),
    ("POST", "registered-models/alias", {"name": P, "alias": "a", "version": "2"}),
    ("DELETE", "registered-models/alias", {"name": M, "alias": "a"}),
    ("DELETE", "registered-models/alias", {"name": P, "alias": "a"}),
    ("PATCH", "registered-models/update", {"name": M, "description": "x"}),
    ("PATCH", "model-versions/update", {"name": M, "version": "1", "description": "x"}),
    ("POST", "model-versions/transition-stage", {"name": M, "version": "1", "stage": "Staging"}),
    ("POST", "registered-models/rename", {"name": "m2", "new_name": "m3"}),
    ("DELETE", "model-versions/delete", {"name": M, "version": "1"}),
    ("DELETE", "registered-models/delete", {"name": M}),
    ("POST", "registered-models/create", {"name": "the last"}),
]


def ask(wire: Wire, method: str, path: str, body: object) -> Any:
    answer = wire.ask(
        method,
        f"/api/2.0/mlflow/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    return answer.json()


def deliveries_of(url: str) -> list[Received]:
    """All deliveries of the server while its registry changes, test deliveries first."""
    with receiver() as there, Wire(url) as wire:
        events = [{"entity": entity, "action": action} for entity, action in ALL]
        hook = {"name": "hook", "url": f"{there.url}/x?y=1", "events": events, "secret": SECRET}
        made = ask(wire, "POST", "webhooks", hook)["webhook"]["webhook_id"]
        ask(wire, "POST", "webhooks", hook | {"status": "DISABLED"})
        for event in events:
            result = ask(wire, "POST", f"webhooks/{made}/test", {"event": event})
            assert result == {
                "result": {"success": True, "response_status": 200, "response_body": "ok"}
            }
        there.answers = [(418, {})]
        result = ask(wire, "POST", f"webhooks/{made}/test", {})
        assert result["result"]["response_status"] == 418
        assert not result["result"]["success"]
        for method, path, body in CHANGES:
            count = len(there.received)
            answer = ask(wire, method, path, body)
            # One after the other, because concurrent deliveries have no order.
            if "error_code" not in answer and causes_delivery(path, body):
                there.wait_for(count + 1)
        there.wait_for(count + 1)
        return there.received


def causes_delivery(path: str, body: dict[str, Any]) -> bool:
    """Whether such a change causes a delivery."""
    if path in ("registered-models/set-tag", "registered-models/delete-tag"):
        return bool(body["name"] == P)
    return not path.endswith(("update", "transition-stage", "rename", "/delete"))


def comparable(received: Received) -> tuple[object, ...]:
    """A delivery without random values; the data as text, because its order matters."""
    said = received.json()
    assert received.is_signed_with(SECRET), "the receiver can check the signature"
    assert "+00:00" in said.pop("timestamp")
    return received.path, received.headers["content-type"], json.dumps(said)


def test_deliveries_are_equal(tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = []
        for start in (stock, headrace):
            directory = tmp_path / start.__name__
            directory.mkdir()
            uri = f"sqlite:///{directory}/mlflow.db"
            server = stack.enter_context(start(uri, directory, environment=ENVIRONMENT))
            found.append([comparable(one) for one in deliveries_of(server.url)])
    theirs, ours = found
    assert len(theirs) > 30
    for its, mine in zip(theirs, ours, strict=True):
        assert mine == its


def test_stock_uses_our_webhooks_and_we_use_its(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with receiver() as there:
        hooks = [
            {
                "name": f"by-{start.__name__}",
                "url": there.url,
                "events": [CREATED],
                "secret": SECRET,
            }
            for start in (headrace, stock)
        ]
        for start, hook in ((headrace, hooks[0]), (stock, hooks[1]), (headrace, None)):
            with start(uri, tmp_path, environment=ENVIRONMENT) as server, Wire(server.url) as wire:
                if hook:
                    ask(wire, "POST", "webhooks", hook)
                count = len(there.received)
                ask(wire, "POST", "registered-models/create", {"name": f"model {count}"})
                found = there.wait_for(count + len(ask(wire, "GET", "webhooks", {})["webhooks"]))
    assert len(found) == 1 + 2 + 2
    assert all(one.is_signed_with(SECRET) for one in found)
