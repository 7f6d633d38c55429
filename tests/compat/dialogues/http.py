"""HTTP besides the API: health, routing, methods, headers, both prefixes."""

from __future__ import annotations

from tests.compat.dialogue import JSON_TYPE, PREFIXES, Ask, Dialogue, get, post

API = "/api/2.0/mlflow"

ROUTING = Dialogue(
    "routing",
    (
        get("health", "/health"),
        get("version", "/version"),
        get("server-info", "/api/3.0/mlflow/server-info"),
        get("server-info, ajax", "/ajax-api/3.0/mlflow/server-info"),
        get("health with a query", "/health?x=1"),
        get("doubled slash in front", f"/{API}/experiments/get", {"experiment_id": "0"}),
        get("health, upper case", "/Health"),
        get("health, trailing slash", "/health/"),
        Ask("health, HEAD", "HEAD", "/health"),
        Ask("health, POST", "POST", "/health"),
        get("unknown", f"{API}/nope"),
        get("unknown outside", "/nope"),
        get("api alone", "/api"),
        get("no such version", "/api/9.0/mlflow/runs/get"),
        get("trailing slash", f"{API}/experiments/get/", {"experiment_id": "0"}),
        get("percent-encoded path", f"{API}/experiments/g%65t", {"experiment_id": "0"}),
        get("doubled slash inside", f"{API}//experiments/get", {"experiment_id": "0"}),
        get("dots inside", f"{API}/runs/../experiments/get", {"experiment_id": "0"}),
        get("upper case", f"{API}/Experiments/Get", {"experiment_id": "0"}),
        get("workspaces", "/api/3.0/mlflow/workspaces"),
        get("users/current", "/ajax-api/2.0/mlflow/users/current"),
    ),
)

GETS = ("experiments/get", "experiments/get-by-name", "runs/get", "metrics/get-history",
        "metrics/get-history-bulk-interval")  # fmt: skip
POSTS = ("experiments/create", "experiments/update", "experiments/delete", "experiments/restore",
         "experiments/set-experiment-tag", "experiments/delete-experiment-tag", "runs/create",
         "runs/update", "runs/delete", "runs/restore", "runs/search", "runs/set-tag",
         "runs/delete-tag", "runs/log-metric", "runs/log-parameter", "runs/log-batch",
         "runs/log-inputs", "runs/outputs", "runs/log-model")  # fmt: skip

METHODS = Dialogue(
    "methods",
    (
        *(
            Ask(f"{method} {path}", method, f"/api/2.0/mlflow/{path}", headers=JSON_TYPE)
            for path in (*GETS, *POSTS, "experiments/search")
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        ),
        *(
            Ask(
                f"{method} under {prefix}",
                method,
                f"{prefix}/2.0/mlflow/runs/get",
                query="run_id=x",
            )
            for prefix in PREFIXES
            for method in ("HEAD", "OPTIONS")
        ),
        Ask("OPTIONS of a POST route", "OPTIONS", f"{API}/runs/search"),
        Ask("HEAD of a POST route", "HEAD", f"{API}/runs/search"),
    ),
)

# Once under each prefix: all requests of a short training run.
TRAINING = (
    post("create experiment", "experiments/create", {"name": "$dialogue"}, keep={"exp": "experiment_id"}),
    get("get experiment", "experiments/get", {"experiment_id": "$exp"}),
    get("get by name", "experiments/get-by-name", {"experiment_name": "$dialogue"}),
    post("set experiment tag", "experiments/set-experiment-tag", {"experiment_id": "$exp", "key": "k", "value": "v"}),
    post("create run", "runs/create", {"experiment_id": "$exp", "run_name": "r"}, keep={"run": "run.info.run_id"}),
    post("log metric", "runs/log-metric", {"run_id": "$run", "key": "m", "value": 1, "timestamp": 1}),
    post("log parameter", "runs/log-parameter", {"run_id": "$run", "key": "p", "value": "1"}),
    post("set tag", "runs/set-tag", {"run_id": "$run", "key": "t", "value": "1"}),
    post("log batch", "runs/log-batch", {"run_id": "$run", "metrics": [{"key": "m", "value": 2, "timestamp": 2}]}),
    post("log inputs", "runs/log-inputs", {"run_id": "$run", "datasets": []}),
    get("history", "metrics/get-history", {"run_id": "$run", "metric_key": "m"}),
    get("interval", "metrics/get-history-bulk-interval", {"run_ids": "$run", "metric_key": "m"}),
    get("run", "runs/get", {"run_id": "$run"}, unordered=("tags",)),
    post("search", "runs/search", {"experiment_ids": ["$exp"]}, unordered=("tags",)),
    post("search experiments", "experiments/search", {"max_results": 1, "filter": "name = '$dialogue'"}),
    post("update run", "runs/update", {"run_id": "$run", "status": "FINISHED"}),
    post("delete tag", "runs/delete-tag", {"run_id": "$run", "key": "t"}),
    post("delete run", "runs/delete", {"run_id": "$run"}),
    post("restore run", "runs/restore", {"run_id": "$run"}),
    post("update experiment", "experiments/update", {"experiment_id": "$exp", "new_name": "$dialogue 2"}),
    post("delete experiment tag", "experiments/delete-experiment-tag", {"experiment_id": "$exp", "key": "k"}),
    post("delete experiment", "experiments/delete", {"experiment_id": "$exp"}),
    post("restore experiment", "experiments/restore", {"experiment_id": "$exp"}),
)  # fmt: skip


def under(prefix: str) -> Dialogue:
    asks = (
        Ask(a.label, a.method, f"{prefix}/2.0/mlflow/{a.path}", a.body, a.query, a.headers, a.keep, a.unordered)
        for a in TRAINING
    )  # fmt: skip
    return Dialogue(f"a training under {prefix}", tuple(asks))


SEARCH = f"{API}/runs/search"


def typed(label: str, content_type: str | None, body: object = b"{}", method: str = "POST") -> Ask:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return Ask(label, method, SEARCH, body, headers=headers)


CONTENT_TYPES = Dialogue(
    "content types",
    (
        typed("none", None),
        typed("empty", ""),
        typed("text", "text/plain"),
        typed("form", "application/x-www-form-urlencoded", b"experiment_ids=1"),
        typed("multipart", "multipart/form-data; boundary=x", b"--x--"),
        typed("charset", "application/json; charset=utf-8"),
        typed("other charset", "application/json; charset=latin-1"),
        typed("upper case", "APPLICATION/JSON"),
        typed("spaces", "  application/json  "),
        typed("no space before parameter", "application/json;charset=utf-8"),
        typed("json with a suffix", "application/json-patch+json"),
        typed("vendor json", "application/vnd.api+json"),
        typed("two types", "text/plain, application/json"),
        typed("text/json", "text/json"),
        typed("type and no body", "application/json", b""),
        typed("no type and no body", None, b""),
        Ask("GET with a wrong type", "GET", f"{API}/experiments/get", query="experiment_id=0",
            headers={"Content-Type": "text/plain"}),
        Ask("GET with a body of a wrong type", "GET", f"{API}/experiments/get",
            {"experiment_id": "0"}, headers={"Content-Type": "text/plain"}),
    ),
)  # fmt: skip

HEADERS = Dialogue(
    "headers",
    (
        *(
            Ask(f"Host {host}", "GET", "/api/3.0/mlflow/server-info", headers={"Host": host})
            for host in ("localhost", "localhost:1", "127.0.0.1", "evil.example", "192.168.1.1", "LOCALHOST")
        ),
        Ask("evil Host on health", "GET", "/health", headers={"Host": "evil.example"}),
        *(
            Ask(f"Origin {origin} on {method}", method, path, body, headers=JSON_TYPE | {"Origin": origin})
            for origin in ("http://localhost:3000", "http://127.0.0.1", "http://evil.example", "null")
            for method, path, body in (
                ("POST", SEARCH, {}),
                ("GET", f"{API}/experiments/get?experiment_id=0", b""),
            )
        ),
        *(
            Ask(
                f"preflight from {origin}",
                "OPTIONS",
                SEARCH,
                headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
            )
            for origin in ("http://localhost:3000", "http://evil.example")
        ),
        Ask("workspace", "GET", f"{API}/experiments/get?experiment_id=0", headers={"X-MLFLOW-WORKSPACE": "w"}),
        Ask("workspace on server-info", "GET", "/api/3.0/mlflow/server-info", headers={"X-MLFLOW-WORKSPACE": "w"}),
        Ask("accept html", "GET", f"{API}/experiments/get?experiment_id=0", headers={"Accept": "text/html"}),
    ),
)  # fmt: skip

DIALOGUES = (
    ROUTING,
    METHODS,
    CONTENT_TYPES,
    HEADERS,
    *(under(prefix) for prefix in PREFIXES),
)
