"""However a request spells ids and credentials, a denied user reads and changes nothing, and nothing fails.

Every resource of experiment 1 and the model `secret` contains the word `SECRET`. The users of the test
may do everything (`default_permission` MANAGE), except that grants deny those two; so any spelling
that the check and the handler understand differently would show the word or change a row.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
import pytest
from tests.faults.fuzzed import FIRST_SEED, OPTIONS, is_meant
from tests.fix_auth import credentials, headrace_with_users, password_of
from tests.fix_database import empty_database
from tests.fix_users import accounts_in
from tests.wire import Answer, Wire

from headrace.api.routes import ROUTES
from headrace.auth import grants, roles, users
from headrace.auth.passwords import hashed
from headrace.auth.rules import ADMIN
from headrace.http.router import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.api.route import Route
    from headrace.db.base import Tx

SECRET: Final = "hush-9f31"
NOT_IMPLEMENTED: Final = 501  # without the bridge, for requests that stock MLflow answers
REQUESTS: Final = 2500
API: Final = "/api/2.0/mlflow/"
JSON: Final = {"Content-Type": "application/json"}
DENIED: Final = ("by-id", "by-type")
PARTS: Final = ("run", "logged_model", "trace", "registered_model_version")
# Routes that show names which their rule does not protect: users, and the headrace's own pages.
IGNORED: Final = (
    "/oidc/",
    "/signup",
    "/metrics",
    "/openapi.json",
    "/headrace/api",
    "/static-files",
)


async def deny(uri: str) -> None:
    """Make the users and their grants, in the tracking database.

    The experiment exists already: whoever makes one gets an id without grants.
    """
    async with accounts_in(uri) as accounts:
        await accounts.db.write(_users)


async def _users(tx: Tx) -> None:
    for name in DENIED:
        await users.create(tx, name, hashed(password_of(name)))
    for kind, id_ in (("experiment", "1"), ("registered_model", "secret")):
        await grants.grant(tx, "by-id", kind, id_, "DENY")
    role = await roles.create(tx, "denied", "default", None)
    for kind in ("experiment", "registered_model", *PARTS):
        await roles.add_permission(tx, role.id, kind, "*", "DENY")
    await roles.assign(tx, "by-type", role.id)


class Secrets:
    """The texts that must stay hidden, and their counterparts that `by-id` may use."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        for name in (SECRET, "open"):
            self.made("experiments/create", {"name": f"{name} experiment"})
        self.runs = [self._run(id_, word) for id_, word in (("1", SECRET), ("2", "open"))]
        self.models = [self._model(id_, word) for id_, word in (("1", SECRET), ("2", "open"))]
        named = (("secret", SECRET), ("public", "open"))
        for (name, word), id_, run in zip(named, ("1", "2"), self.runs, strict=True):
            self.made("registered-models/create", {"name": name, "description": word})
            source = f"mlflow-artifacts:/{id_}/{run}/artifacts"
            body = {"name": name, "source": source, "run_id": run, "description": word}
            self.made("model-versions/create", body)
        self.before = self.rows()

    def made(self, name: str, body: Any) -> Any:
        """The answer to an admin's request that must succeed."""
        sent = JSON | credentials("admin")
        answer = self._wire.ask("POST", API + name, json.dumps(body).encode(), sent)
        assert answer.status == 200, str(answer)
        return answer.json()

    def _run(self, experiment_id: str, word: str) -> str:
        body = {"experiment_id": experiment_id, "run_name": word}
        run_id: str = self.made("runs/create", body)["run"]["info"]["run_id"]
        metrics = [{"key": f"m-{word}", "value": 1, "timestamp": 1}]
        tags = [{"key": "k", "value": word}]
        self.made("runs/log-batch", {"run_id": run_id, "tags": tags, "metrics": metrics})
        path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment_id}/{run_id}/artifacts/f.txt"
        answer = self._wire.ask("PUT", path, word.encode(), credentials("admin"))
        assert answer.status == 200, str(answer)
        return run_id

    def _model(self, experiment_id: str, word: str) -> str:
        body = {"experiment_id": experiment_id, "name": word}
        model_id: str = self.made("logged-models", body)["model"]["info"]["model_id"]
        return model_id

    def rows(self) -> list[Any]:
        """Everything that must stay as it is, as the admin sees it."""
        sent = credentials("admin")
        file = f"/api/2.0/mlflow-artifacts/artifacts/1/{self.runs[0]}/artifacts/f.txt"
        paths = (
            f"{API}experiments/get?experiment_id=1",
            f"{API}runs/get?run_id={self.runs[0]}",
            f"{API}logged-models/{self.models[0]}",
            f"{API}registered-models/get?name=secret",
            f"{API}model-versions/get?name=secret&version=1",
            f"{API}artifacts/list?run_id={self.runs[0]}",
            file,
        )
        found = [self._wire.ask("GET", path, None, sent) for path in paths]
        listed = self.made("runs/search", {"experiment_ids": ["1"], "run_view_type": "ALL"})
        return [*[(answer.status, answer.body) for answer in found], listed]


class Spelling:
    """Chooses values of fields, often those of a secret in an unusual spelling."""

    def __init__(self, secrets: Secrets, choose: random.Random) -> None:
        self.choose = choose
        run, open_run = secrets.runs
        model, open_model = secrets.models
        self.of: dict[str, list[Any]] = {
            "experiment_id": [*numbers("1"), "2"],
            "run_id": [*texts(run), open_run],
            "model_id": [*texts(model), open_model],
            "name": [*texts("secret"), "public"],
            "experiment_name": texts(f"{SECRET} experiment"),
            "artifact_path": [*artifact_paths(run), f"2/{open_run}/artifacts/f.txt"],
            "path": ["f.txt", "1", "./1", "1/", f"1/{run}", f"./1/{run}/artifacts", "%31", "."],
            "version": ["1", "01", " 1"],
            "source": ["models:/secret/1", "models:/secret@x", f"models:/{model}", f"runs:/{run}/x"],
            "filter": ["", f"name LIKE '%{SECRET}%'", f"run_id = '{run}'", "name ILIKE '%'"],
            "status": ["FINISHED", "LOGGED_MODEL_READY"],
            "query": [
                f'{{mlflowGetExperiment(input: {{experimentId: "{id_}"}}) {{experiment {{name}}}}}}'
                for id_ in ("1", "01", " 1")
            ],
        }  # fmt: skip
        self.of["run_uuid"] = self.of["source_run_id"] = self.of["run_id"]
        self.of["artifact_file_path"] = ["f.txt"]

    def value(self, name: str) -> Any:
        """A value of the field."""
        plural = name.removesuffix("s") if name.endswith("ids") else None
        if plural in self.of:
            return [self.choose.choice(self.of[plural]) for _ in range(self.choose.randint(1, 3))]
        known = self.of.get(name)
        if name in ("metrics", "models"):
            key = {"key": "m", "value": 1, "timestamp": 1}
            return [key | {"model_id": self.value("model_id")}]
        if known is None:
            return self.choose.choice(["x", "1", 1, [], {}, None, "open", True])
        return self.choose.choice(known)


def numbers(text: str) -> list[Any]:
    """Spellings of a number."""
    return [text, f"0{text}", f" {text}", f"{text} ", f"+{text}", f"\t{text}\n", "\u0661", "\uff11",
            f"0_{text}", f"\u2003{text}", int(text), float(text), f"{text}.0", f"{text}\0", True,
            [text], {"value": text}, "*", "-1", f"00000000{text}"]  # fmt: skip


def texts(text: str) -> list[Any]:
    """Spellings of an id or a name."""
    return [text, text.upper(), f" {text}", f"{text} ", f"{text}\0", quote(text), f"%{ord(text[0]):x}{text[1:]}",
            [text], f"{text}/", f"./{text}", "*", "", f"{text}\u200b", f"{text}\n"]  # fmt: skip


def artifact_paths(run: str) -> list[str]:
    """Spellings of the path of a file of the secret run."""
    plain = f"1/{run}/artifacts/f.txt"
    return [plain, f"./{plain}", f"/{plain}", f"//{plain}", f"1//{run}/artifacts/f.txt", f"1/./{run}/artifacts/f.txt",
            f"2/../{plain}", f"2/%2e%2e/{plain}", plain.replace("1/", "%31/", 1), plain.replace("1/", "%2531/", 1),
            plain.replace("/", "%2F"), plain.replace("/", "%252F"), f"workspaces/w/../../{plain}", f"{plain}/",
            "1", "1/", f"1/{run}", f"1/{run}/artifacts", ".", "", "1/.", f"{plain}?", f"{plain};x",
            f"01/{run}/artifacts/f.txt",
            plain.replace("/", "\\"), f"file:{plain}", f"{plain}%00", f" {plain}"]  # fmt: skip


def camel(name: str) -> str:
    """`run_id` → `runId`"""
    return re.sub(r"_([a-z])", lambda m: m[1].upper(), name)


class Requests:
    """Makes requests for native routes."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._choose = spelling.choose
        self._routes = [r for r in ROUTES if not r.path.startswith(IGNORED)]

    def next(self) -> tuple[Route, str, str, bytes | None, dict[str, str]]:
        """Route, method, target, body and headers; the credentials are added later."""
        choose = self._choose
        route = choose.choice(self._routes)
        names = self._names(route)
        target = re.sub(r"\{([^}]+)\}", lambda m: self._argument(m[1], names), route.path)
        if target.startswith("/api/") and choose.random() < 0.3:
            target = "/ajax-api/" + target.removeprefix("/api/")
        pairs = [
            (spelled, self._spelling.value(name))
            for name in names
            for spelled in (name, name, camel(name))[: choose.choice([1, 1, 1, 2, 3])]
        ]
        choose.shuffle(pairs)
        body = None
        if route.method in ("GET", "HEAD") or route.raw or choose.random() < 0.3:
            target += "?" + "&".join(f"{k}={quote(str(v))}" for k, v in self._flat(pairs))
        if route.method not in ("GET", "HEAD") or choose.random() < 0.2:
            body = (
                "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs) + "}"
            ).encode()
        method = (
            route.method
            if choose.random() < 0.95
            else choose.choice(["HEAD", "GET", "POST", "PUT"])
        )
        kind = choose.choice(
            ["application/json"] * 8 + ["text/plain", "application/x-www-form-urlencoded"]
        )
        headers = {"Content-Type": kind}
        if choose.random() < 0.1:
            headers["X-HTTP-Method-Override"] = "GET"
        return route, method, target, body, headers

    def _names(self, route: Route) -> list[str]:
        names = set(route.query)
        kind = None if route.raw else Endpoint(route).request_type
        if kind is not None:
            names = {f.name for f in msgspec.structs.fields(kind)}
            names = {n for n in names if n in self._spelling.of or self._choose.random() < 0.5}
        names |= set(
            self._choose.sample(["run_id", "run_uuid", "model_id", "experiment_id", "name"], 1)
        )
        return sorted(names)

    def _argument(self, name: str, names: list[str]) -> str:
        name = name.removesuffix(":path")
        value = self._spelling.value("model_id" if name == "-" else name)
        return quote(str(value), safe=self._choose.choice(["", "/%", "/"]))

    def _flat(self, pairs: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        for name, value in pairs:
            for item in value if isinstance(value, list) else [value]:
                yield name, item


@pytest.fixture(params=DENIED)
def denied(request: pytest.FixtureRequest) -> str:
    """The user whose requests are made."""
    found: str = request.param
    return found


@pytest.mark.timeout(300)
async def test_no_spelling_of_a_request_gets_around_a_grant_that_denies(
    denied: str, database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    choose = random.Random(FIRST_SEED + DENIED.index(denied))
    statuses: Counter[int] = Counter()
    with empty_database(database, request, tmp_path) as uri:
        options = {"default_permission": "MANAGE"}
        with (
            headrace_with_users(uri, tmp_path, uri, *OPTIONS, **options) as server,
            Wire(server.url) as admin,
            Wire(server.url) as wire,
        ):
            secrets = Secrets(admin)
            await deny(uri)
            requests = Requests(Spelling(secrets, choose))
            for _ in range(REQUESTS):
                route, method, target, body, headers = requests.next()
                answer = wire.ask(method, target, body, headers | credentials(denied))
                statuses[answer.status] += 1
                what = f"{denied}: {method} {target} {body!r}"
                meant = answer.status == NOT_IMPLEMENTED or is_meant(answer.status, answer.body)
                assert answer.status < 500 or meant, f"{what}: {answer}"
                assert route.rule is not ADMIN or answer.status >= 400, f"{what}: {answer}"
                if answer.status < 400:
                    assert SECRET.encode() not in answer.body, f"{what}: {answer}"
            assert secrets.rows() == secrets.before
    assert statuses[200] > REQUESTS / 50, f"too few requests are allowed: {statuses}"
    assert statuses[403] > REQUESTS / 50, f"too few requests are denied: {statuses}"


CREDENTIALS: Final = [
    "", "Basic", "Basic ", "Basic =", "Basic !!!!", "basic " + "A" * 4000, "Bearer", "Bearer ", "Bearer x.y.z",
    "Bearer hrt1_", "Bearer hrt1_AAAA", "Digest username=admin", "Basic\tYWRtaW46eA==", "\xff\xfe", "Basic \xff",
    *("Basic " + base64.b64encode(text).decode() for text in (
        b"", b":", b"admin", b"admin:", b":x", b"admin:\x00", b"admin\x00:admin-password", b"\xff:\xfe",
        b"admin :admin-password", b"ADMIN:admin-password", b"admin:admin-password ", b"by-id:" + b"x" * 5000,
        b"' OR 1=1 --:x", "\ud7ff\U0010ffff:é".encode(),
    )),
]  # fmt: skip


async def test_no_header_logs_anyone_in_without_a_password(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with empty_database(database, request, tmp_path) as uri:
        await deny(uri)
        with (
            headrace_with_users(uri, tmp_path, uri, *OPTIONS) as server,
            Wire(server.url) as wire,
        ):
            for value in CREDENTIALS:
                headers = {"Authorization": value} if value else {}
                for name in ("X-Forwarded-User", "X-Remote-User", "X-MLflow-Authorization"):
                    answer: Answer = wire.ask(
                        "GET",
                        f"{API}experiments/get?experiment_id=0",
                        None,
                        headers | {name: "admin"},
                    )
                    assert answer.status in (400, 401, 429), f"{value!r}: {answer}"
