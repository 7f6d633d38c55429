"""A server with S3's API: moto's, in a process of its own, with a bucket."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import free_port
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_S = 60
BUCKET = "artifacts"


@dataclass(frozen=True)
class S3:
    """Its address, the environment variables that give a server access, and a boto3 client (untyped)."""

    url: str
    client: Any
    environment: dict[str, str] = field(default_factory=dict)

    def keys(self, prefix: str = "") -> dict[str, int]:
        """The keys below a prefix, with their sizes."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {item["Key"]: item["Size"] for item in found}

    def unfinished_uploads(self) -> list[str]:
        """The keys of uploads in parts that were neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [upload["Key"] for upload in found]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """The server, ready."""
    import boto3  # the import takes a second, and most tests do not use S3

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert process.poll() is None, "moto's server ended by itself"
            with suppress(OSError), Wire(url) as wire:
                if wire.ask("GET", "/moto-api/data.json").status == 200:
                    break
            time.sleep(0.1)
        environment = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": url,
        }
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        yield S3(url, client, environment)
        client.close()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def s3(s3_server: S3) -> S3:
    """The server with one empty bucket; objects of other test files are deleted."""
    with Wire(s3_server.url) as wire:
        assert wire.ask("POST", "/moto-api/reset").status == 200
    s3_server.client.create_bucket(Bucket=BUCKET)
    return s3_server
