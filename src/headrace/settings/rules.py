"""Settings of MLflow's own rules. As in MLflow, they are environment variables without flags."""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.settings.gateway import GatewaySettings
from headrace.settings.kinds import (
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

RULES: Final = "MLflow's rules"


@dataclasses.dataclass(frozen=True)
class RuleSettings(GatewaySettings):
    """The rows of MLflow's rules; see `table` for the others."""

    truncate_long_values: bool = row(
        RULES,
        True,
        SWITCH,
        env="MLFLOW_TRUNCATE_LONG_VALUES",
        help="Truncate values of params and tags that are too long, instead of rejecting them.",
    )
    enable_custom_scorers: bool = row(
        RULES,
        False,
        SWITCH,
        env="MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS",
        help="Accept scorers that contain Python code. A user who may register one can then run any "
        "code on the server that runs MLflow's jobs.",
    )
    graphql_max_aliases: int = row(
        RULES,
        10,
        integer(0, 1_000),
        env="MLFLOW_SERVER_GRAPHQL_MAX_ALIASES",
        help="Maximum number of aliases in one selection of a GraphQL query.",
    )
    graphql_max_root_fields: int = row(
        RULES,
        10,
        integer(0, 1_000),
        env="MLFLOW_SERVER_GRAPHQL_MAX_ROOT_FIELDS",
        help="Maximum number of root fields of a GraphQL query. headrace answers queries with one root "
        "field; MLflow answers the others.",
    )
    artifact_location_max_chars: int = row(
        RULES,
        2048,
        integer(1, 1_000_000),
        env="MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH",
        help="Maximum length of the artifact location of an experiment, in characters.",
    )
    allowed_host_addressed_artifact_schemes: str | None = row(
        RULES,
        None,
        TEXT,
        env="MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES",
        help="Schemes, separated by commas, that clients may use in an artifact location although the "
        "server would connect to any host in it (such as sftp, http, hdfs).",
    )
    model_version_source_pattern: str | None = row(
        RULES,
        None,
        Kind("PATTERN", pattern),
        env="MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX",
        help="A regular expression that the source of every new model version must match.",
    )
    presigned_download_url_ttl_s: int = row(
        RULES,
        300,
        integer(1, 604_800),
        env="MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS",
        help="Validity of a link for downloading an artifact directly from the store.",
    )
    proxy_multipart_upload: bool = row(
        RULES,
        False,
        SWITCH,
        env="MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD",
        help="Tell clients to upload large artifacts in parts, directly to the store, which they then "
        "must be able to reach.",
    )
    proxy_multipart_download: bool = row(
        RULES,
        False,
        SWITCH,
        env="MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",
        help="Tell clients to download large artifacts in parts, directly from the store.",
    )
    server_info_tracking_auth: str | None = row(
        RULES,
        None,
        TEXT,
        env="MLFLOW_SERVER_INFO_TRACKING_AUTH",
        help="The name of the authentication plugin of clients that the page shows in its examples.",
    )

    model_catalog_uri: str | None = row(
        RULES,
        None,
        TEXT,
        env="MLFLOW_MODEL_CATALOG_URI",
        help="A directory (file://) with files of models' prices, <provider>.json, that come before "
        "those of the mlflow package. headrace never asks another server for prices.",
    )
    s3_endpoint_url: str | None = row(
        RULES,
        None,
        URI,
        env="MLFLOW_S3_ENDPOINT_URL",
        help="Address of an S3-compatible server to use instead of Amazon's. All other settings of "
        "s3:// come from the variables and files that boto3 reads (AWS_ACCESS_KEY_ID, ~/.aws …).",
    )
    s3_ignore_tls: bool = row(
        RULES,
        False,
        SWITCH,
        env="MLFLOW_S3_IGNORE_TLS",
        help="Do not check the certificate of the S3 server.",
    )
    s3_addressing_style: str = row(
        RULES,
        "auto",
        choice("auto", "path", "virtual"),
        env="MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        help="Position of the bucket's name in an S3 URL: in the host (virtual) or in the path.",
    )
    s3_upload_extra_args: str | None = row(
        RULES,
        None,
        Kind("JSON", json_object),
        env="MLFLOW_S3_UPLOAD_EXTRA_ARGS",
        help='Extra arguments for every upload to S3, such as {"ServerSideEncryption": "aws:kms"}.',
    )
    s3_expected_bucket_owner: str | None = row(
        RULES,
        None,
        TEXT,
        env="MLFLOW_S3_EXPECTED_BUCKET_OWNER",
        help="Account that must own the bucket. With this setting MLflow's own repository is used, "
        "with boto3.",
    )
