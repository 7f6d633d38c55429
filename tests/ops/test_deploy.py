"""The files in deploy/, checked by their own tools if these are installed, else by structure."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.fix_server import ROOT, free_port, headrace
from tests.waiting import eventually
from tests.wire import Wire

from headrace.settings.table import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_server import Server

DEPLOY = ROOT / "deploy"
LIMIT_S = 60
# A server without replicas does not have these; tests/faults/test_replicas.py reads them.
WITH_REPLICAS = {f"headrace_replica_{name}" for name in ("up", "lag_seconds", "reads_total")}
NAME = re.compile(r"\bheadrace_[a-z_]+")
VARIABLE = re.compile(r"\b(?:MLFLOW|HEADRACE)_[A-Z_]+\b")
CLIENTS = {"MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def ran(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a tool without the user's configuration."""
    return subprocess.run(
        argv,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=os.environ | {"KUBECONFIG": os.devnull},
        check=False,
    )


def needs(tool: str) -> str:
    """Skip where a tool is not installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return tool


def manifests() -> list[Any]:
    """Every Kubernetes object."""
    folder = DEPLOY / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(
        path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    return [yaml.safe_load((folder / name).read_text()) for name in listed]


def of_kind(kind: str) -> Any:
    """The one object of a kind."""
    (found,) = [item for item in manifests() if item["kind"] == kind]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_variables_are_settings(path: Path) -> None:
    """A misspelt variable would be ignored silently."""
    known = {name for setting in SETTINGS for name in setting.env} | CLIENTS
    assert not set(VARIABLE.findall(path.read_text())) - known - {"MLFLOW_", "HEADRACE_"}


def metric_names(text: str) -> set[str]:
    """The metrics that expressions name."""
    return set(NAME.findall(text))


def test_every_metric_of_dashboard_and_alerts_exists(tmp_path: Path) -> None:
    """In /metrics of a server after one request."""
    with (
        headrace(f"sqlite:///{tmp_path}/m.db", tmp_path) as server,
        Wire(server.url) as wire,
    ):
        wire.ask("GET", "/health")
        text = wire.ask("GET", "/metrics").body.decode()
    shown = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"}
    board = json.loads((DEPLOY / "grafana/headrace.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    expressions += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    used = set().union(*map(metric_names, expressions))
    assert len(used) > 20
    assert not used - shown - WITH_REPLICAS
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert not {name for name in families if name.startswith("headrace_")} - {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in used
    }, "a metric that no panel shows"


def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, which is what promtool checks."""
    promtool = needs("promtool")
    board = json.loads((DEPLOY / "grafana/headrace.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    plain = [re.sub(r"\$\w+", "5m", expression) for expression in expressions]
    rules = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(plain)]
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    )
    done = ran(promtool, "check", "rules", str(tmp_path / "rules.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_do_not_overlap() -> None:
    """Otherwise Grafana would overlap them."""
    panels = json.loads((DEPLOY / "grafana/headrace.json").read_text())["panels"]
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_has_a_runbook() -> None:
    """Its heading exists in docs/howto/operate.md."""
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    page = (ROOT / "docs/howto/operate.md").read_text()
    headings = {
        "docs/howto/operate.md#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert not [
        rule["alert"]
        for rule in rules
        if re.sub(r"^{{.*}}", "docs", rule["annotations"]["runbook_url"]) not in headings
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    if shutil.which("promtool"):
        done = ran("promtool", "check", "rules", "deploy/prometheus/alerts.yaml")
        assert done.returncode == 0, done.stderr


def test_alerts_fire_for_what_they_describe_and_nothing_else() -> None:
    """Prometheus's own unit tests of deploy/prometheus/alerts_test.yaml."""
    done = ran(needs("promtool"), "test", "rules", "deploy/prometheus/alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_deployment_drains_before_it_is_killed() -> None:
    """Two replicas; preStop and drain timeout fit into the grace period; the probes use the right paths."""
    deployment = of_kind("Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    env = {item["name"]: item["value"] for item in container["env"]}
    pause_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert deployment["spec"]["replicas"] == 2
    assert pause_s + int(env["HEADRACE_DRAIN_TIMEOUT_S"]) < spec["terminationGracePeriodSeconds"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["readinessProbe"]["periodSeconds"] <= 2


def test_the_service_finds_servers_and_nothing_else() -> None:
    """Not the pods of the nightly collection."""
    selector = of_kind("Service")["spec"]["selector"].items()
    pod = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    job = of_kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["metadata"][
        "labels"
    ].items()
    assert selector <= pod
    assert not selector <= job
    assert of_kind("Deployment")["spec"]["selector"]["matchLabels"].items() <= pod
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= pod
    policy = of_kind("NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    assert policy["ingress"][0]["ports"][0]["port"] == container["ports"][0]["containerPort"]
    monitor = yaml.safe_load(
        (DEPLOY / "kubernetes/prometheus-operator/service-monitor.yaml").read_text()
    )
    assert monitor["spec"]["endpoints"][0]["port"] == of_kind("Service")["spec"]["ports"][0]["name"]


def test_kustomize_reads_the_manifests() -> None:
    """All objects come out."""
    done = ran(needs("kubectl"), "kustomize", "deploy/kubernetes")
    assert done.returncode == 0, done.stderr
    kinds = [item["kind"] for item in yaml.safe_load_all(done.stdout)]
    assert sorted(kinds) == [
        "CronJob",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    ]


def test_compose_waits_for_its_database_and_lets_the_server_drain() -> None:
    """Named volumes are declared, and the stop timeout is longer than a drain."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server = compose["services"]["headrace"]
    assert server["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "healthcheck" in compose["services"]["postgres"]
    assert int(server["stop_grace_period"].removesuffix("s")) > 25
    for service in compose["services"].values():
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"]
    assert (DEPLOY / server["build"]["context"] / server["build"]["dockerfile"]).exists()


def test_the_image_copies_existing_files_and_drops_root() -> None:
    """Every COPY from the context names something that the ignore file lets through."""
    text = (DEPLOY / "Dockerfile").read_text()
    let_through = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    copied = [
        word for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M) for word in line.split()
    ]
    assert copied
    assert set(copied) <= set(let_through)
    assert all((ROOT / name).exists() for name in copied)
    assert re.search(r"^USER \d+:\d+$", text, re.M)
    assert re.search(r'^ENTRYPOINT \["headrace"\]$', text, re.M)


def test_the_memory_limit_and_the_bridge_agree() -> None:
    """Stock MLflow needs up to 3 GB: it is off, or the limit leaves room for it."""
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    env = {item["name"]: item["value"] for item in container["env"]}
    limit = container["resources"]["limits"]["memory"]
    assert env["HEADRACE_BRIDGE"] == "false" or int(limit.removesuffix("Gi")) >= 4


def test_the_password_of_compose_is_in_no_uri() -> None:
    """Otherwise some characters would have to be encoded."""
    environment = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["headrace"][
        "environment"
    ]
    assert environment["PGPASSWORD"] == "${POSTGRES_PASSWORD}"
    uri = environment["MLFLOW_BACKEND_STORE_URI"]
    assert urlsplit(uri).username == "headrace"
    assert urlsplit(uri).password is None


def test_nginx_streams_and_hides_the_probes() -> None:
    """Braces match, and the directives for streaming and for the client's address exist."""
    text = re.sub(r"#.*", "", (DEPLOY / "nginx/headrace.conf").read_text())
    assert text.count("{") == text.count("}") > 4
    statements = [line.strip() for line in text.splitlines() if line.strip()]
    assert all(line[-1] in ";{}" for line in statements)
    for wanted in (
        "client_max_body_size 0;",
        "proxy_request_buffering off;",
        "proxy_http_version 1.1;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
    ):
        assert wanted in statements


def nginx_configuration(directory: Path, server: Server, port: int) -> Path:
    """The example with ports, files and a password of the test."""
    text = (DEPLOY / "nginx/headrace.conf").read_text()
    key, certificate, passwords = (directory / name for name in ("key", "certificate", "passwords"))
    made = ran(
        *(needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=mlflow.example.com", "-keyout", str(key), "-out", str(certificate)),
    )
    assert made.returncode == 0, made.stderr
    passwords.write_text("ann:{PLAIN}pass\n")
    for old, new in (
        ("/etc/nginx/tls/mlflow.example.com.pem", str(certificate)),
        ("/etc/nginx/tls/mlflow.example.com.key", str(key)),
        ("/etc/nginx/mlflow.htpasswd", str(passwords)),
        ("127.0.0.1:5000", urlsplit(server.url).netloc),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
    ):
        assert old in text
        text = text.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""  # this user may read the test's directory
    found = directory / "nginx.conf"
    found.write_text(
        f"{user} daemon off; pid {directory}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {temporary} {text} }}"
    )
    return found


def test_nginx_passes_on_only_the_api_with_a_password(tmp_path: Path) -> None:
    """With the password it passes on the API but no probes; without, nothing. Only if nginx is installed."""
    nginx, port = needs("nginx"), free_port()
    uri = f"sqlite:///{tmp_path}/m.db"
    with headrace(uri, tmp_path, "--allowed-hosts", "mlflow.example.com") as server:
        configuration = nginx_configuration(tmp_path, server, port)
        checked = ran(nginx, "-t", "-c", str(configuration), "-p", str(tmp_path))
        assert checked.returncode == 0, checked.stderr
        process = subprocess.Popen([nginx, "-c", str(configuration), "-p", str(tmp_path)])
        try:
            eventually(lambda: through(port, "/health", password="pass") == 200)
            assert through(port, "/health", password="wrong") == 401
            assert through(port, "/api/2.0/mlflow/experiments/get?experiment_id=0") == 200
            put = "/api/2.0/mlflow-artifacts/artifacts/large"
            assert through(port, put, method="PUT", body=b"x" * (8 << 20)) == 200
            for probe in ("/livez", "/readyz", "/metrics", "/team/metrics", "/metrics/"):
                assert through(port, probe) == 404
        finally:
            process.terminate()
            process.wait(LIMIT_S)
    assert (tmp_path / "mlartifacts/large").stat().st_size == 8 << 20


def through(
    port: int,
    path: str,
    *,
    password: str = "pass",
    method: str = "GET",
    body: bytes | None = None,
) -> int:
    """The status of an answer through the proxy; 0 while it does not listen yet."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=LIMIT_S)
    token = base64.b64encode(f"ann:{password}".encode()).decode()
    headers = {"Host": "mlflow.example.com", "Authorization": f"Basic {token}"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()
    return answer.status
