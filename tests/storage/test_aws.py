"""Signatures and credentials for S3, compared with AWS's published examples and the files of its tools."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.storage import aws
from headrace.storage.s3 import Address, credentials_provider

if TYPE_CHECKING:
    from pathlib import Path

# The credentials of AWS's documentation, which give access to nothing.
EXAMPLE = aws.Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_a_signature_is_the_one_that_aws_publishes() -> None:
    url = aws.presign(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        EXAMPLE,
        "us-east-1",
        query={},
        headers={},
        expires_s=86400,
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert url.endswith(
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_a_session_token_and_the_headers_are_signed() -> None:
    def signed(token: str | None, headers: dict[str, str]) -> str:
        return aws.presign(
            "PUT",
            "http://127.0.0.1:9000/b/k",
            EXAMPLE._replace(token=token),
            "eu-west-1",
            query={},
            headers=headers,
            expires_s=60,
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )

    plain = signed(None, {})
    assert "X-Amz-Security-Token=a%2Fb&" in signed("a/b", {})
    assert "X-Amz-SignedHeaders=content-type%3Bhost" in signed(None, {"Content-Type": "text/csv"})
    assert len({plain.rpartition("=")[2], signed("a/b", {}).rpartition("=")[2]}) == 2


def test_variables_win_over_files(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = file\naws_secret_access_key = s%cret\n"
        "[other]\naws_access_key_id = named\naws_secret_access_key = x\naws_session_token = t\n"
    )
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-3\n[profile other]\nregion = eu-north-1\n")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_CONFIG_FILE": str(config)}

    def found(**environ: str) -> tuple[object, str | None]:
        merged = files | environ
        values = aws.profile(merged)
        provider = credentials_provider(merged, values)
        return provider() if provider else None, values.get("region")

    assert found() == (("file", "s%cret", None), "eu-west-3")
    assert found(AWS_PROFILE="other") == (("named", "x", "t"), "eu-north-1")
    assert found(AWS_ACCESS_KEY_ID="env", AWS_SECRET_ACCESS_KEY="y") == (
        ("env", "y", None),
        "eu-west-3",
    )


def test_the_bucket_is_where_boto3_looks_for_it() -> None:
    def url(bucket: str, endpoint: str | None = None, style: str = "auto") -> str:
        return Address(bucket, "eu-west-1", endpoint, style).of("a b/ü%")

    assert url("bkt") == "https://bkt.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC%25"
    assert url("b.kt") == "https://s3.eu-west-1.amazonaws.com/b.kt/a%20b/%C3%BC%25"
    assert url("bkt", style="path") == "https://s3.eu-west-1.amazonaws.com/bkt/a%20b/%C3%BC%25"
    assert url("bkt", "http://minio:9000/") == "http://minio:9000/bkt/a%20b/%C3%BC%25"
    assert url("bkt", "https://h", "virtual") == "https://bkt.h/a%20b/%C3%BC%25"
