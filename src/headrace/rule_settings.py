"""Settings of MLflow's rules, which it reads from the environment only. The other rows are in config.py."""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.setting import (
    SWITCH,
    TEXT,
    URI,
    Kind,
    choice,
    integer,
    json_object,
    pattern,
    row,
)
from headrace.webhook_settings import WebhookSettings

RULES: Final = "MLflow's rules"


@dataclasses.dataclass(frozen=True)
class RuleSettings(WebhookSettings):
    """The rows."""

    truncate_long_values: bool = row(
        RULES,
        True,
        SWITCH,
        "MLFLOW_TRUNCATE_LONG_VALUES",
        "Cut values of params and tags that are too long, instead of refusing them.",
    )
    graphql_max_aliases: int = row(
        RULES,
        10,
        integer(0, 1_000),
        "MLFLOW_SERVER_GRAPHQL_MAX_ALIASES",
        "Most aliases in one selection of a GraphQL query.",
    )
    graphql_max_root_fields: int = row(
        RULES,
        10,
        integer(0, 1_000),
        "MLFLOW_SERVER_GRAPHQL_MAX_ROOT_FIELDS",
        "Most root fields of a GraphQL query. headrace answers queries of one; MLflow all others.",
    )
    artifact_location_max_chars: int = row(
        RULES,
        2048,
        integer(1, 1_000_000),
        "MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH",
        "Longest artifact location of an experiment, in characters.",
    )
    allowed_host_addressed_artifact_schemes: str | None = row(
        RULES,
        None,
        TEXT,
        "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES",
        "Schemes, separated by commas, that a client may name in an artifact location although the "
        "server would connect to whatever host stands there (sftp, http, hdfs and the like).",
    )
    model_version_source_pattern: str | None = row(
        RULES,
        None,
        Kind("PATTERN", pattern),
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX",
        "A regular expression that the source of every new model version must match.",
    )
    presigned_download_url_ttl_s: int = row(
        RULES,
        300,
        integer(1, 604_800),
        "MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS",
        "How long a link for downloading an artifact from the store itself is good.",
    )

    s3_endpoint_url: str | None = row(
        RULES,
        None,
        URI,
        "MLFLOW_S3_ENDPOINT_URL",
        "Address of a server that speaks S3, in place of Amazon's. Everything else about s3:// "
        "comes from the variables and files that boto3 reads (AWS_ACCESS_KEY_ID, ~/.aws …).",
    )
    s3_ignore_tls: bool = row(
        RULES,
        False,
        SWITCH,
        "MLFLOW_S3_IGNORE_TLS",
        "Do not check the certificate of the S3 server.",
    )
    s3_addressing_style: str = row(
        RULES,
        "auto",
        choice("auto", "path", "virtual"),
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        "Whether a bucket's name stands in the host (virtual) or in the path of an S3 URL.",
    )
    s3_upload_extra_args: str | None = row(
        RULES,
        None,
        Kind("JSON", json_object),
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS",
        'What is asked of S3 with every upload, such as {"ServerSideEncryption": "aws:kms"}.',
    )
    s3_expected_bucket_owner: str | None = row(
        RULES,
        None,
        TEXT,
        "MLFLOW_S3_EXPECTED_BUCKET_OWNER",
        "Account that a bucket must belong to. Goes through MLflow's own repository, with boto3.",
    )
