"""headrace and stock store secrets of the AI gateway in one database: each decrypts those of the other."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from mlflow.utils import crypto
from tests.faults.stored import rows
from tests.fix_database import empty_database
from tests.fix_server import base_environment, headrace, stock
from tests.wire import Wire

from headrace.contract import envelope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.compat
JSON = {"Content-Type": "application/json"}
GATEWAY = "/api/3.0/mlflow/gateway"
FIRST, SECOND, THIRD = "the first passphrase ö", "the second one", "the third one"
VALUE = {"api_key": "sk-1234567890abcdef", "ключ": "значение"}


def environment(passphrase: str, version: int) -> dict[str, str]:
    """The variables of a server and of a command."""
    return {
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": passphrase,
        "MLFLOW_CRYPTO_KEK_VERSION": str(version),
    }


def ask(wire: Wire, method: str, path: str, **fields: Any) -> Any:
    """The answer to a request that must succeed."""
    body = None if method == "GET" else json.dumps(fields).encode()
    answer = wire.ask(method, f"{GATEWAY}/{path}", body, JSON)
    assert answer.status == 200, f"{path}: {answer}"
    return answer.json()


def create(wire: Wire, name: str, value: dict[str, str] = VALUE) -> str:
    """The id of a new secret."""
    made = ask(wire, "POST", "secrets/create", secret_name=name, secret_value=value)
    return str(made["secret"]["secret_id"])


@dataclass(frozen=True)
class Stored:
    """A row of `secrets`."""

    id: str
    name: str
    encrypted_value: bytes
    wrapped_dek: bytes
    version: int

    def as_stock(self, passphrase: str) -> Any:
        """The value that stock's code decrypts."""
        key = crypto.KEKManager(passphrase, self.version)
        parts = self.encrypted_value, self.wrapped_dek
        return crypto._decrypt_secret(*parts, key, self.id, self.name)

    def as_headrace(self, passphrase: str) -> Any:
        """The value that headrace's code decrypts."""
        key = envelope.derive(passphrase, self.version)
        found = envelope.Envelope(self.encrypted_value, self.wrapped_dek)
        return json.loads(envelope.unseal(found, key, self.id, self.name))


def stored(uri: str) -> dict[str, Stored]:
    """The secrets of a database by name."""
    found = rows(
        uri,
        "SELECT secret_id, secret_name, encrypted_value, wrapped_dek, kek_version FROM secrets",
    )
    return {
        row[1]: Stored(row[0], row[1], bytes(row[2]), bytes(row[3]), int(row[4])) for row in found
    }


@pytest.fixture
def empty(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of the kind under test."""
    with empty_database(database, request, tmp_path) as uri:
        yield uri


def test_secrets_of_one_server_are_those_of_the_other(empty: str, tmp_path: Path) -> None:
    """Created, changed, listed and deleted alternately."""
    with ExitStack() as stack:
        variables = environment(FIRST, 7)
        ours, theirs = (
            stack.enter_context(
                Wire(stack.enter_context(start(empty, tmp_path, environment=variables)).url)
            )
            for start in (headrace, stock)
        )
        first, second = create(ours, "ours"), create(theirs, "theirs")
        changed = {"api_key": "changed by stock"}
        ask(theirs, "POST", "secrets/update", secret_id=first, secret_value=changed)
        here = {"api_key": "changed by headrace"}
        ask(ours, "POST", "secrets/update", secret_id=second, secret_value=here)
        create(ours, "new of ours")
        create(theirs, "new of theirs")
        lists = [ask(wire, "GET", "secrets/list")["secrets"] for wire in (ours, theirs)]
        assert sorted(lists[0], key=by_name) == sorted(lists[1], key=by_name)
        assert {one["secret_name"] for one in lists[0]} == {
            "ours", "theirs", "new of ours", "new of theirs",
        }  # fmt: skip
        wanted = {"ours": changed, "theirs": here, "new of ours": VALUE, "new of theirs": VALUE}
        found = stored(empty)
        assert {name: one.version for name, one in found.items()} == dict.fromkeys(wanted, 7)
        assert {name: one.as_stock(FIRST) for name, one in found.items()} == wanted
        assert {name: one.as_headrace(FIRST) for name, one in found.items()} == wanted
        fields = {"provider": "openai", "model_name": "gpt"}
        made = [
            ask(wire, "POST", "model-definitions/create", name=name, secret_id=secret, **fields)
            for wire, name, secret in ((ours, "a", second), (theirs, "b", first))
        ]
        ask(ours, "DELETE", "secrets/delete", secret_id=first)
        ask(theirs, "DELETE", "secrets/delete", secret_id=second)
        for wire in (ours, theirs):
            left = ask(wire, "GET", "model-definitions/list")["model_definitions"]
            assert sorted(one["name"] for one in left) == ["a", "b"]
            assert not any("secret_id" in one or "secret_name" in one for one in left)
        definitions = [one["model_definition"]["model_definition_id"] for one in made]
        for wire, id_ in zip((theirs, ours), definitions, strict=True):
            ask(wire, "DELETE", "model-definitions/delete", model_definition_id=id_)
        assert ask(ours, "GET", "model-definitions/list") == {}
        assert set(stored(empty)) == {"new of ours", "new of theirs"}


def by_name(secret: dict[str, Any]) -> Any:
    """The order of comparison: stock states none."""
    return secret["secret_name"]


def rotate(
    *words: str, directory: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """The command of headrace, at its end."""
    return subprocess.run(
        [sys.executable, "-m", "headrace", "crypto", "rotate-kek", "--yes", *words],
        cwd=directory,
        env=base_environment() | variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def rotate_as_stock(uri: str, old: str, new: str, version: int) -> None:
    """Rotate with stock's code; its command in 3.17.2 fails, because the session only reads."""
    keys = crypto.KEKManager(old, version), crypto.KEKManager(new, version + 1)
    statement = "UPDATE secrets SET wrapped_dek = {0}, kek_version = {0} WHERE secret_id = {0}"
    changes = [
        (
            crypto.rotate_secret_encryption(
                one.encrypted_value, one.wrapped_dek, *keys
            ).wrapped_dek,
            version + 1,
            one.id,
        )
        for one in stored(uri).values()
    ]
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:])) as file, file:
            file.executemany(statement.format("?"), changes)
    else:
        with psycopg.connect(uri) as connection:
            connection.cursor().executemany(statement.format("%s").encode(), changes)


def test_keys_that_one_rotates_are_read_by_the_other(empty: str, tmp_path: Path) -> None:
    """First with stock's code, then with headrace's command."""
    with (
        headrace(empty, tmp_path, environment=environment(FIRST, 1)) as server,
        Wire(server.url) as wire,
    ):
        create(wire, "a")
        create(wire, "b", {"api_key": "b"})
    rotate_as_stock(empty, FIRST, SECOND, 1)
    with (
        headrace(empty, tmp_path, environment=environment(SECOND, 2)) as server,
        Wire(server.url) as wire,
    ):
        changed = {"api_key": "changed"}
        secret = stored(empty)["b"].id
        ask(wire, "POST", "secrets/update", secret_id=secret, secret_value=changed)
        create(wire, "c")
    before = stored(empty)
    wanted = {"a": VALUE, "b": changed, "c": VALUE}
    assert {name: one.version for name, one in before.items()} == dict.fromkeys(wanted, 2)
    assert {name: one.as_headrace(SECOND) for name, one in before.items()} == wanted
    assert {name: one.as_stock(SECOND) for name, one in before.items()} == wanted
    options = ("--new-passphrase", THIRD, "--backend-store-uri", empty)
    done = rotate(*options, directory=tmp_path, variables=environment(SECOND, 2))
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "MLFLOW_CRYPTO_KEK_VERSION=3" in told
    assert SECOND not in told
    assert THIRD not in told
    after = stored(empty)
    assert {name: one.version for name, one in after.items()} == dict.fromkeys(wanted, 3)
    assert {name: one.as_stock(THIRD) for name, one in after.items()} == wanted
    # Only the wrapping of the keys has changed.
    assert all(after[name].encrypted_value == before[name].encrypted_value for name in wanted)


def test_a_rotation_with_a_wrong_passphrase_changes_nothing(empty: str, tmp_path: Path) -> None:
    with (
        headrace(empty, tmp_path, environment=environment(FIRST, 1)) as server,
        Wire(server.url) as wire,
    ):
        create(wire, "a")
        create(wire, "b")
    before = stored(empty)
    options = (empty, "--new-passphrase", THIRD)
    done = rotate(*options, directory=tmp_path, variables=environment(SECOND, 1))
    assert done.returncode == 2
    assert "cannot be read with version 1 of the passphrase" in done.stderr
    assert not any(text in done.stdout + done.stderr for text in (SECOND, THIRD, *VALUE.values()))
    assert stored(empty) == before
    done = rotate(*options, directory=tmp_path, variables=environment(FIRST, 4))
    assert done.returncode == 0
    assert "There is no secret of version 4" in done.stdout
    assert "of version 1, which are as before: 2" in done.stdout
    assert stored(empty) == before
