"""The AI gateway's secrets, model definitions and lists: what a comparison with stock cannot show."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.stored import rows
from tests.fill import fill
from tests.fix_packages import environment_without
from tests.fix_server import headrace
from tests.scripted_access import Granted, users_of
from tests.wire import Wire

from headrace.auth.access import Scope
from headrace.extras import install_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_api import Api
    from tests.scripted_access import Ask
    from tests.wire import Answer

GATEWAY = "/api/3.0/mlflow/gateway"
AJAX = "/ajax-api/3.0/mlflow/gateway"
JSON = {"Content-Type": "application/json"}
HIDDEN = "hidden-" + "0123456789" * 5
COLUMNS = (
    "secret_id, secret_name, encrypted_value, wrapped_dek, kek_version, masked_value, provider,"
    " created_at, last_updated_at"
)


def ask(wire: Wire, method: str, path: str, **fields: Any) -> Answer:
    """The answer to a request."""
    body = None if method == "GET" else json.dumps(fields).encode()
    return wire.ask(method, path if path.startswith("/") else f"{GATEWAY}/{path}", body, JSON)


def create(wire: Wire, name: str, **fields: Any) -> Answer:
    """The answer to a request for a new secret."""
    value = {"api_key": HIDDEN}
    return ask(
        wire, "POST", "secrets/create", **{"secret_name": name, "secret_value": value} | fields
    )


def test_no_value_is_in_an_answer_a_log_or_a_metric(uri: str, tmp_path: Path) -> None:
    """Also of requests that are refused."""
    passphrase = "a passphrase that nobody sees"
    variables = {"MLFLOW_CRYPTO_KEK_PASSPHRASE": passphrase}
    with (
        headrace(
            uri, tmp_path, "--log-level", "debug", "--metrics", environment=variables
        ) as server,
        Wire(server.url) as wire,
    ):
        made = create(wire, "k", auth_config={"api_base": ""})
        secret = made.json()["secret"]["secret_id"]
        update = f"{GATEWAY}/secrets/update"
        answers = [
            made,
            ask(wire, "POST", update, secret_id=secret, secret_value={"api_key": HIDDEN + "x"}),
            ask(wire, "GET", f"secrets/get?secret_id={secret}"),
            ask(wire, "GET", "secrets/list"),
            create(wire, "k"),
            create(wire, "l", secret_value={"api_key": {"nested": HIDDEN}}),
            create(wire, "l", secret_value=HIDDEN),
            create(wire, "l", secret_value=[HIDDEN]),
            create(wire, "l", secret_value={"api_key": HIDDEN, "base_url": HIDDEN}),
            create(wire, "l", secret_value={"api_key": HIDDEN * 2000}),
            create(wire, "l", auth_config={"api_base": f"https://u:{HIDDEN}@1.1.1.1"}),
            create(wire, "l", auth_config={"api_key": [HIDDEN]}),
            create(wire, "l", provider=[], secret_value={"api_key": HIDDEN}),
            ask(wire, "POST", update, secret_id="s-no", secret_value={"api_key": HIDDEN}),
            ask(wire, "GET", f"{AJAX}/secrets/config"),
            ask(wire, "GET", "/metrics"),
        ]
        statuses = [answer.status for answer in answers]
        assert statuses == [200] * 4 + [400] * 9 + [404, 200, 200], answers
        found = [answer.body.decode() for answer in answers] + [server.log()]
    assert HIDDEN[:12] not in "".join(found)
    assert passphrase not in "".join(found)
    (row,) = rows(uri, "SELECT encrypted_value, masked_value FROM secrets")
    assert HIDDEN.encode() not in bytes(row[0])
    assert json.loads(row[1]) == {"api_key": "hid...789x"}


def test_the_client_of_two_that_is_first_gets_the_name(api: Api) -> None:
    def made(n: int) -> tuple[int, bool]:
        with Wire(api.server.url) as wire:
            answer = create(wire, "wanted by all", created_by=str(n))
            return answer.status, answer.status == 200 or "already exists" in answer.json()[
                "message"
            ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(made, range(8)))
    assert sorted(answers) == [(200, True)] + [(400, True)] * 7


def test_without_the_package_only_writes_of_values_are_refused(tmp_path: Path) -> None:
    """And the page learns it; the lists of models need the mlflow package."""
    packages = environment_without(tmp_path / "env", "mlflow", "cryptography")
    uri = f"sqlite:///{tmp_path}/m.db"
    with (
        headrace(uri, tmp_path, environment=packages) as server,
        Wire(server.url) as wire,
    ):
        config = ask(wire, "GET", f"{AJAX}/secrets/config").json()
        assert config == {"secrets_available": False, "using_default_passphrase": True}
        fill(uri, "secrets", COLUMNS, [("s-1", "k", b"", b"", 1, "{}", "p", 1, 1)])
        update = {"secret_id": "s-1", "secret_value": {"k": "v"}}
        for answer in (create(wire, "k"), ask(wire, "POST", "secrets/update", **update)):
            assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
            assert install_command("gateway") in answer.json()["message"]
        changed = ask(wire, "POST", "secrets/update", secret_id="s-1", auth_config={"a": "b"})
        assert changed.json()["secret"]["auth_config"] == {"a": "b"}
        assert len(ask(wire, "GET", "secrets/list").json()["secrets"]) == 1
        assert ask(wire, "DELETE", "secrets/delete", secret_id="s-1").status == 200
        for name in ("supported-providers", "supported-models", "provider-config?provider=openai"):
            answer = ask(wire, "GET", f"{AJAX}/{name}")
            assert answer.status == 501
            assert install_command("mlflow") in answer.json()["message"]


def test_the_settings_of_the_gateway_count(tmp_path: Path) -> None:
    """Providers, addresses; and a catalogue on another server is never asked."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        address = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        variables = {
            "MLFLOW_CRYPTO_KEK_PASSPHRASE": "p",
            "MLFLOW_CRYPTO_KEK_VERSION": "12",
            "MLFLOW_GATEWAY_ALLOWED_PROVIDERS": "openai, Azure",
            "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "https, HTTP",
            "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_MODEL_CATALOG_URI": address,
        }
        uri = f"sqlite:///{tmp_path}/m.db"
        with (
            headrace(uri, tmp_path, environment=variables) as server,
            Wire(server.url) as wire,
        ):
            config = ask(wire, "GET", f"{AJAX}/secrets/config").json()
            assert config == {"secrets_available": True, "using_default_passphrase": False}
            assert create(wire, "k", auth_config={"api_base": address}).status == 200
            assert rows(uri, "SELECT kek_version FROM secrets") == [(12,)]
            providers = ask(wire, "GET", f"{AJAX}/supported-providers").json()["providers"]
            assert providers == ["azure", "openai"]
            models = ask(wire, "GET", f"{AJAX}/supported-models").json()["models"]
            assert {one["provider"] for one in models} == {"azure", "openai"}
            refused = ask(wire, "GET", f"{AJAX}/provider-config?provider=groq")
            assert refused.status == 400
            assert "is not allowed" in refused.json()["message"]
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_a_gateway_that_is_switched_off_says_so(tmp_path: Path) -> None:
    off = {"MLFLOW_ENABLE_AI_GATEWAY": "false"}
    with (
        headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, environment=off) as server,
        Wire(server.url) as wire,
    ):
        for answer in (
            create(wire, "k"),
            ask(wire, "GET", "model-definitions/list"),
            ask(wire, "GET", f"{AJAX}/supported-providers"),
            ask(wire, "GET", f"{AJAX}/secrets/config"),
        ):
            assert answer.status == 501
            assert "MLFLOW_ENABLE_AI_GATEWAY=true" in answer.json()["message"]
        info = wire.ask("GET", "/ajax-api/3.0/mlflow/server-info").json()
        assert info["features_enabled"] == {"gateway": False}


async def listed(query: Ask, user: str, kind: str = "secrets", **fields: Any) -> list[str]:
    """The ids of a user's list; a long one arrives in pieces."""
    answer = await query(user, "GET", f"{GATEWAY}/{kind}/list", **fields)
    found = answer.json.get(kind.replace("-", "_"), [])
    assert answer.in_pieces is (len(found) > 100)
    key = "secret_id" if kind == "secrets" else "model_definition_id"
    return [one[key] for one in found]


async def test_lists_have_what_the_caller_may_read(uri: str) -> None:
    """However many rows there are; the oldest first, and those of one millisecond by their ids."""
    total = 2500
    made = [f"s-{n:05}" for n in range(total)]
    some = frozenset(made[::1000])
    async with users_of(
        uri,
        some=Granted(gateway_secret=Scope(some, only=True)),
        most=Granted(gateway_secret=Scope(some, only=False)),
        none=Granted(gateway_secret=Scope(frozenset(), only=True)),
    ) as query:
        row = (b"", b"", 1, "{}")
        stamps = [(made[n], f"k{n}", *row, f"p{n % 5}", n // 7, 1) for n in range(total)]
        fill(uri, "secrets", COLUMNS, reversed(stamps))
        assert await listed(query, "admin") == made
        assert await listed(query, "some") == sorted(some)
        assert await listed(query, "most") == [id_ for id_ in made if id_ not in some]
        assert await listed(query, "none") == []
        assert await listed(query, "admin", provider="p3") == made[3::5]
        assert await listed(query, "some", provider="p3") == []


async def test_creators_manage_and_deletions_take_the_grants_along(uri: str) -> None:
    ann = Granted()
    async with users_of(uri, ann=ann) as query:
        body = {"secret_name": "k", "secret_value": {"a": "b"}}
        answer = await query("ann", "POST", f"{GATEWAY}/secrets/create", **body)
        secret = answer.json["secret"]["secret_id"]
        body = {"name": "d", "secret_id": secret, "provider": "p", "model_name": "m"}
        answer = await query("ann", "POST", f"{GATEWAY}/model-definitions/create", **body)
        definition = answer.json["model_definition"]["model_definition_id"]
        path = f"{GATEWAY}/model-definitions/delete"
        await query("ann", "DELETE", path, model_definition_id=definition)
        await query("ann", "DELETE", f"{GATEWAY}/secrets/delete", secret_id=secret)
        again = await query("ann", "DELETE", f"{GATEWAY}/secrets/delete", secret_id=secret)
        assert again.status == 404
        assert ann.changes == [
            ("created", "gateway_secret", secret),
            ("finished",),
            ("created", "gateway_model_definition", definition),
            ("finished",),
            ("deleted", "gateway_model_definition", definition),
            ("finished",),
            ("deleted", "gateway_secret", secret),
            ("finished",),
        ]


def test_a_long_secret_is_refused(api: Api) -> None:
    """Its value by its length, and the request by its bytes."""
    with Wire(api.server.url) as wire:
        answer = create(wire, "long", secret_value={"api_key": "x" * 100_001})
        assert answer.status == 400
        assert "100000" in answer.json()["message"]
        values = {f"k{n}": "x" * 90_000 for n in range(12)}
        assert create(wire, "long", secret_value=values).status in (400, 413)
        assert rows(api.uri, "SELECT 1 FROM secrets WHERE secret_name = 'long'") == []
