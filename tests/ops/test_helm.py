"""The Helm chart makes the objects of deploy/kubernetes."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml
from tests.fix_server import ROOT

from headrace import __version__

CHART = ROOT / "deploy/helm/headrace"
LIMIT_S = 60


def helm(*argv: str) -> subprocess.CompletedProcess[str]:
    """The result of a command of helm, which may not be installed."""
    tool = shutil.which("helm")
    if tool is None:
        pytest.skip("helm is not installed")
    return subprocess.run(
        [tool, *argv], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def rendered(*options: str) -> dict[str, Any]:
    """The objects of the chart by kind, for a release called headrace."""
    done = helm("template", "headrace", str(CHART), *options)
    assert done.returncode == 0, done.stderr
    return {item["kind"]: item for item in yaml.safe_load_all(done.stdout)}


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_helm_finds_no_fault() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_starts_the_server_as_the_manifests_do() -> None:
    """The same image, probes, security, variables, and grace period."""
    plain = yaml.safe_load((ROOT / "deploy/kubernetes/deployment.yaml").read_text())
    ours, theirs = (item["spec"]["template"]["spec"] for item in (rendered()["Deployment"], plain))
    for name in ("securityContext", "enableServiceLinks", "terminationGracePeriodSeconds"):
        assert ours[name] == theirs[name]
    (our,), (their,) = ours["containers"], theirs["containers"]
    assert {item["name"]: item["value"] for item in our["env"]} == {
        item["name"]: item["value"] for item in their["env"]
    }
    for name in ("image", "args", "ports", "envFrom", "resources", "lifecycle", "securityContext"):
        assert our[name] == their[name], name
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert our[name].items() <= their[name].items(), name


def test_selectors_find_the_servers_only() -> None:
    made = rendered("--set", "serviceMonitor=true")
    pod = made["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    job = made["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        made["Deployment"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= pod
        assert not selector.items() <= job
    wanted = made["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= made["Service"]["metadata"]["labels"].items()


def test_a_bridge_needs_memory() -> None:
    done = helm("template", "headrace", str(CHART), "--set", "bridge=true")
    assert done.returncode != 0
    assert "bridge needs a memoryLimit of at least 4Gi" in done.stderr
    assert rendered("--set", "bridge=true", "--set", "memoryLimit=4Gi")["Deployment"]


def test_parts_can_be_left_out() -> None:
    kinds = set(rendered("--set", "gcOlderThan=", "--set", "allowedNamespaces=null"))
    assert kinds == {"Deployment", "Service", "PodDisruptionBudget"}
