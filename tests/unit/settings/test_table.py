"""Settings: sources of values, invalid values, refusals and notes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.settings import defaults, oidc
from headrace.settings.kinds import URI, SettingError, shown
from headrace.settings.load import Resolution, load, load_handed_over
from headrace.settings.load import resolve as resolve_settings
from headrace.settings.masking import masked
from headrace.settings.table import SETTINGS, Settings

if TYPE_CHECKING:
    from headrace.settings.kinds import Setting

PARSED = [setting for setting in SETTINGS if not setting.kind.is_switch]
WITH_WORKSPACES: dict[str, Any] = {"enable_workspaces": True}
PREFIXES = ("/a", "/b")
# Settings that need others.
OF_PROVIDERS = {
    "HEADRACE_APP_NAME": "basic-auth",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of the server",
    "HEADRACE_OIDC_ISSUER": "https://id.example.com",
    "HEADRACE_OIDC_AUDIENCE": "headrace",
}
WITH_BOTH = [s for s in SETTINGS if s.flags and s.env]


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults depend on the files in the working directory, some settings on installed packages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(oidc, "PACKAGES", ())


def resolve(environ: dict[str, str] | None = None, **flags: Any) -> Resolution:
    """The resolution of these flags in this environment alone."""
    return resolve_settings(flags, environ or {})


def two_values(setting: Setting) -> tuple[str, str]:
    """Two different texts that the setting accepts and that are not its default."""
    if setting.kind.is_switch:
        return ("false", "true") if setting.default else ("true", "false")
    if setting.kind is URI:
        return "sqlite:///a.db", "sqlite:///b.db"
    if "|" in setting.kind.metavar:
        other, usual = sorted(setting.kind.metavar.split("|")[:2], key=setting.default.__eq__)
        return other.lower(), usual.upper()
    if setting.name in ("metrics_token_file", "oidc_client_secret_file"):
        for name in ("one", "two"):
            Path(name).write_text(f"the token in file {name}\n")
        return "one", "two"
    pairs = (
        ("7", "11"),
        ("10.0.0.0/8", "::1"),
        ("a=b", "a=w/b"),
        ("16", "32"),
        ("https://a.example.com/oidc/callback", "https://b.example.com/oidc/callback"),
        ("8MiB", "9437184"),
        (__file__, defaults.__file__),
        PREFIXES,
        ("headrace", "basic-auth"),
    )
    for pair in pairs:
        try:
            values = [setting.kind.parse(text) for text in pair]
        except ValueError:
            continue
        if setting.default not in values:
            return pair
    raise AssertionError(f"no two values for {setting.name}")


def test_defaults_are_those_of_the_table() -> None:
    """Without flags and variables."""
    resolution = resolve()
    assert resolution.settings == Settings()
    assert set(resolution.sources.values()) == {"default"}
    assert resolution.notes == ()


@pytest.mark.parametrize("setting", WITH_BOTH, ids=lambda s: s.name)
def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(setting: Setting) -> None:
    """For every setting that has both."""
    one, two = two_values(setting)
    name, variable = setting.name, setting.env[0]
    others = OF_PROVIDERS if name.startswith("oidc_") else {}
    by_variable = resolve({**others, variable: one})
    assert getattr(by_variable.settings, name) == setting.kind.parse(one)
    assert by_variable.sources[name] == variable
    flag: str | bool = two == "true" if setting.kind.is_switch else two
    by_flag = resolve({**others, variable: one}, **{name: flag})
    assert getattr(by_flag.settings, name) == setting.kind.parse(two)
    assert by_flag.sources[name].startswith("--")


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.env], ids=lambda s: s.name)
def test_a_variable_set_to_nothing_is_not_set(setting: Setting) -> None:
    """As with click, and so with `mlflow server`."""
    assert resolve({setting.env[0]: ""}).sources[setting.name] == "default"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("port", "http", "'http' is not a whole number"),
        ("port", "65536", "65536 is not in the range 0 to 65535"),
        ("port", "-1", "-1 is not in the range"),
        ("workers", "0", "0 is not in the range 1 to 256"),
        ("workers", "2.5", "'2.5' is not a whole number"),
        ("sqlite_synchronous", "off", "'off' is not one of normal, full"),
        ("log_format", "xml", "'xml' is not one of text, json"),
        ("x_frame_options", "ALLOW", "'ALLOW' is not one of SAMEORIGIN, DENY, NONE"),
        ("max_body_bytes", "1MB", "'1MB' is not a size such as"),
        ("max_body_bytes", "10", "10 is not in the range 1MiB to 4096MiB bytes"),
        ("drain_timeout_s", "soon", "'soon' is not a number of seconds"),
        ("drain_timeout_s", "nan", "nan is not in the range 0 to 3600 seconds"),
        ("static_prefix", "mlflow", "--static-prefix must begin with a '/'"),
        ("static_prefix", "/mlflow/", "--static-prefix should not end with a '/'"),
        ("static_prefix", "/{a}", "--static-prefix must not contain '{' or '}'"),
        ("sqlite_readers", "0", "0 is not in the range"),
        ("secrets_cache_ttl_s", "5", "5 is not in the range 10 to 300"),
        ("trace_archival_config", "nowhere.yaml", "the file 'nowhere.yaml' does not exist"),
        ("app_name", "sso", "everyone might have access"),
    ],
)
def test_a_wrong_flag_is_reported_with_its_name(name: str, text: str, says: str) -> None:
    """The sentence names the flag and the reason."""
    flag = next(s.title for s in SETTINGS if s.name == name)
    with pytest.raises(SettingError) as caught:
        resolve(**{name: text})
    assert str(caught.value).startswith(f"Invalid value for '{flag}': ")
    assert says in str(caught.value)


def test_a_wrong_pattern_is_reported() -> None:
    """At the start, not when the first model version is made."""
    with pytest.raises(SettingError, match=r"'s3://\(' is not a regular expression"):
        resolve({"MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "s3://("})


def test_a_wrong_variable_is_reported_with_its_name() -> None:
    """So that the user finds the variable."""
    with pytest.raises(SettingError, match=r"Invalid value for 'MLFLOW_SERVE_ARTIFACTS': 'maybe'"):
        resolve({"MLFLOW_SERVE_ARTIFACTS": "maybe"})


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1 << 20), ("1MiB", 1 << 20), ("2 gib", 2 << 30), ("1024KiB", 1 << 20)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    """Bytes, or a binary multiple of them."""
    assert resolve(max_body_bytes=text).settings.max_body_bytes == size


def test_the_artifact_root_follows_serve_artifacts(tmp_path: Path) -> None:
    """Through the server, or the absolute path of ./mlruns; a root of one's own is kept."""
    assert resolve().settings.default_artifact_root == "mlflow-artifacts:/"
    off = {"MLFLOW_SERVE_ARTIFACTS": "0"}
    assert resolve(off).settings.default_artifact_root == str(tmp_path / "mlruns")
    given = resolve(off, default_artifact_root="s3://bucket/a").settings
    assert given.default_artifact_root == "s3://bucket/a"


def test_the_registry_is_in_the_same_database_unless_named() -> None:
    """As in stock MLflow."""
    uri = "postgresql://u:p@db/mlflow"
    assert resolve(backend_store_uri=uri).settings.registry_store_uri == uri
    other = resolve(backend_store_uri=uri, registry_store_uri="sqlite:///registry.db").settings
    assert other.registry_store_uri == "sqlite:///registry.db"


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        ({}, {"MLFLOW_SQL_TRACE_ROLLUPS_ENABLED": "true"}, "does not support daily sums"),
        (WITH_WORKSPACES | {"artifacts_only": True}, {}, "excludes --enable-workspaces"),
        (WITH_WORKSPACES | {"workspace_store_uri": "k8s://x"}, {}, "names another store"),
        (WITH_WORKSPACES | {"registry_store_uri": "sqlite:///r.db"}, {}, "one database"),
        (WITH_WORKSPACES | {"default_artifact_root": "s3://b/workspaces"}, {}, "ends in"),
        (WITH_WORKSPACES | {"default_artifact_root": "s3://b/workspaces/a"}, {}, "ends in"),
        ({}, {"MLFLOW_WORKSPACE": "team"}, "MLFLOW_WORKSPACE is a setting of clients"),
        ({"uvicorn_opts": "--ssl-keyfile k.pem --ssl-certfile c.pem"}, {}, "TLS"),
        ({}, {"MLFLOW_GUNICORN_OPTS": "--certfile=c.pem"}, "TLS"),
        ({"backend_store_uri": "./mlruns"}, {}, "mlflow migrate-filestore --source"),
        ({"backend_store_uri": "file:///data/mlruns"}, {}, "migrate-filestore"),
        ({"registry_store_uri": "/data/mlruns"}, {}, "file store"),
        ({"backend_store_uri": "sqlite://"}, {}, "in memory"),
        ({"backend_store_uri": "sqlite:///:memory:"}, {}, "in memory"),
        ({"backend_store_uri": "mysql+pymysql://u:p@h/db"}, {}, "mysql+pymysql://u:***@h/db"),
        ({"backend_store_uri": "databricks"}, {}, "file store"),
        (
            {"artifacts_only": True, "backend_store_uri": "sqlite:///other.db"},
            {},
            "--artifacts-only opens no database",
        ),
    ],
)
def test_what_is_refused(flags: dict[str, Any], environ: dict[str, str], says: str) -> None:
    """Options that would expose data or store it in the wrong place end the start."""
    with pytest.raises(SettingError) as caught:
        resolve(environ, **flags)
    assert says in str(caught.value)


def test_a_file_store_in_the_working_directory_is_not_passed_over(tmp_path: Path) -> None:
    """Stock MLflow would serve it; an empty database in its place would look like a loss."""
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    assert resolve().settings.backend_store_uri == "sqlite:///mlflow.db"
    (tmp_path / "mlruns" / "0" / "meta.yaml").touch()
    with pytest.raises(SettingError) as caught:
        resolve()
    assert "headrace import ./mlruns" in str(caught.value)
    assert "--backend-store-uri sqlite:///mlflow.db" in str(caught.value)
    named = resolve(backend_store_uri="sqlite:///mlflow.db").settings
    assert named.backend_store_uri == "sqlite:///mlflow.db"
    assert resolve(artifacts_only=True).settings.artifacts_only


@pytest.mark.parametrize(
    ("uri", "dialect"),
    [
        ("sqlite:///mlflow.db", "sqlite"),
        ("sqlite:////data/mlflow.db", "sqlite"),
        ("sqlite+pysqlite:///mlflow.db", "sqlite"),
        ("postgresql://u@h/db", "postgres"),
        ("postgres://u@h/db", "postgres"),
        ("postgresql+psycopg2://u@h/db", "postgres"),
        ("postgresql+asyncpg://u@h/db", "postgres"),
    ],
)
def test_databases_are_recognised_in_sqlalchemys_spellings(uri: str, dialect: str) -> None:
    """With a driver or without."""
    assert defaults.dialect_of(uri) == dialect


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        ({"gunicorn_opts": "--timeout 120"}, {}, "--gunicorn-opts has no effect: "),
        ({}, {"MLFLOW_UVICORN_OPTS": "--log-level debug"}, "MLFLOW_UVICORN_OPTS has no effect: "),
        ({"waitress_opts": "--threads=8"}, {}, "--waitress-opts has no effect: "),
        ({"dev": True}, {}, "--dev has no effect: "),
        ({"backend_store_uri": "sqlite:///a.db?timeout=9"}, {}, "without effect: timeout"),
        ({"read_replica_backend_store_uri": "x"}, {}, "--read-replica-backend-store-uri has no "),
        ({}, {"MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "9"}, "_MAX_OVERFLOW has no effect: "),
        ({"workers": "4"}, {}, "--workers 4 has no effect: one process serves a SQLite"),
        ({"allowed_hosts": "a.com, *"}, {}, "every Host header is accepted"),
        ({"cors_allowed_origins": "*"}, {}, "every Origin is allowed"),
        ({"disable_security_middleware": True}, {}, "security checks are off"),
        ({}, {"HEADRACE_LOGLEVEL": "debug"}, "HEADRACE_LOGLEVEL is not a setting"),
    ],
)
def test_what_is_noted(flags: dict[str, Any], environ: dict[str, str], says: str) -> None:
    """One line for each option without effect or with a risk."""
    (note,) = resolve(environ, **flags).notes
    assert says in note


@pytest.mark.parametrize(
    "replica", ["mysql://h/db", "sqlite:///r.db", "postgresql://a,b,c,d,e,f,g,h,i/db", "x"]
)
def test_a_replica_is_a_standby_of_the_database(replica: str) -> None:
    """At most eight hosts; and nothing else can be one."""
    flags = {"backend_store_uri": "postgresql://h/db", "read_replica_backend_store_uri": replica}
    with pytest.raises(SettingError):
        resolve({}, **flags)


def test_a_replica_that_is_the_primary_itself_is_noted() -> None:
    """As by MLflow; a real one is not."""
    flags = {"backend_store_uri": "postgresql://h/db"}
    (note,) = resolve({}, **flags, read_replica_backend_store_uri="postgresql://h:5432/db").notes
    assert "names the same server" in note
    assert not resolve({}, **flags, read_replica_backend_store_uri="postgresql://r/db").notes


def test_several_workers_are_right_on_postgresql() -> None:
    """No note there, and none for switches that are off or for the test suite's own variables."""
    environ = {"HEADRACE_TEST_POSTGRES": "x", "MLFLOW_ENABLE_WORKSPACES": "false"}
    assert resolve(environ, workers="4", backend_store_uri="postgresql://h/db").notes == ()


def test_options_of_mlflow_server_reach_the_application_it_runs() -> None:
    """`mlflow server --app-name headrace` sets variables of its own, and none for what is off."""
    environ = {
        "_MLFLOW_SERVER_FILE_STORE": "sqlite:///other.db",
        "_MLFLOW_SERVER_REGISTRY_STORE": "sqlite:///other.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "./mlruns",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "s3://bucket",
        "_MLFLOW_STATIC_PREFIX": "/p",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "a.com",
        "MLFLOW_BACKEND_STORE_URI": "sqlite:///not-this.db",
    }
    settings = load_handed_over(environ)
    assert settings.backend_store_uri == "sqlite:///other.db"
    assert settings.artifacts_destination == "s3://bucket"
    assert settings.static_prefix == "/p"
    assert settings.allowed_hosts == "a.com"
    assert settings.serve_artifacts is False
    assert load_handed_over(environ | {"_MLFLOW_SERVER_SERVE_ARTIFACTS": "true"}) == (
        dataclasses.replace(settings, serve_artifacts=True)
    )
    assert load_handed_over({"MLFLOW_SERVE_ARTIFACTS": "true"}) == Settings()


@given(password=st.text(st.characters(exclude_characters="*", codec="utf-8"), min_size=3))
@example("@00")
@example("backend_store_uri")
def test_a_password_is_never_shown(password: str) -> None:
    """With any characters, before the host or as a parameter."""
    others = "postgresql://user:@db.example.com:5432/mlflow?sslmode=require&password=none***"
    if password in others or password in repr(Settings(backend_store_uri=others)):
        return
    quoted = password.replace("&", "%26").replace(";", "%3B").replace(" ", "%20")
    quoted = "".join(quoted.split()) or "%20"
    uri = f"postgresql://user:{password}@db.example.com:5432/mlflow?sslmode=require"
    for text in (uri, uri + "&password=" + quoted):
        settings = Settings(backend_store_uri=text)
        assert password not in shown(text)
        assert password not in repr(settings)
        assert masked(text).startswith("postgresql://user:***@")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("postgresql://u:p@h:5/db?sslmode=require", "postgresql://u:***@h:5/db?sslmode=require"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgresql://h/db?user=u&password=p", "postgresql://h/db?user=u&password=***"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("s3://bucket/path", "s3://bucket/path"),
        ("sftp://u:p@h/path", "sftp://u:***@h/path"),
        ("abfss://fs@account.dfs.core.windows.net/x", "abfss://fs@account.dfs.core.windows.net/x"),
        ('{"ServerSideEncryption": "aws:kms"}', '{"ServerSideEncryption": "aws:kms"}'),
        ("--workers=3 --timeout 5", "--workers=3 --timeout 5"),
        ("s3://bucket/path?author=me", "s3://bucket/path?author=me"),
    ],
)
def test_what_is_not_secret_is_shown(text: str, says: str) -> None:
    """A masked address still shows its host."""
    assert masked(text) == says


@pytest.mark.parametrize(
    "text",
    [
        '{"ServerSideEncryption": "aws:kms", "SSECustomerKey": "hunter2"}',
        '{"deep": [{"CopySourceSSECustomerKey": "hunter2"}], "SSECustomerKeyMD5": "hunter2"}',
        '{"SSECustomerKey": "hunter2"',
        "postgresql:///db?host=/tmp&sslpassword=hunter2",
        "postgresql://h/db?user=u&pass%77ord=hunter2",
        "postgresql://us/er:hunter2@h/db",
        "postgresql://:hunter2@h/db",
        "host=h user=u password=hunter2",
        "host=h password='x hunter2' user=u",
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=hunter2==",
        "wasbs://c@a.blob.core.windows.net/p?sv=1&sig=hunter2",
        "https://hunter2@minio.example.com:9000",
        "https://u:hunter2@minio.example.com",
        "s3://b/p?X-Amz-Security-Token=hunter2&X-Amz-Credential=hunter2/x&X-Amz-Signature=hunter2",
        "https://h/p#access_token=hunter2",
        "--ssl-keyfile-password hunter2 --timeout 5",
        "--workers=3 --ssl-keyfile-password=hunter2",
    ],
)
@pytest.mark.parametrize(
    "name", ["s3_upload_extra_args", "uvicorn_opts", "artifacts_destination", "backend_store_uri"]
)
def test_a_secret_is_hidden_in_every_form_and_every_setting(name: str, text: str) -> None:
    assert "hunter2" not in shown(text)
    assert "hunter2" not in repr(dataclasses.replace(Settings(), **{name: text}))


def test_no_refusal_of_a_setting_repeats_its_secret() -> None:
    for environ in (
        {"MLFLOW_S3_UPLOAD_EXTRA_ARGS": '{"SSECustomerKey": "hunter2"'},
        {"MLFLOW_S3_UPLOAD_EXTRA_ARGS": '["hunter2"]'},
        {"MLFLOW_UVICORN_OPTS": "--ssl-keyfile k.pem --ssl-keyfile-password hunter2"},
        {"MLFLOW_BACKEND_STORE_URI": "mysql://u:hunter2@h/db"},
        {"MLFLOW_BACKEND_STORE_URI": "host=h password=hunter2"},
        {"MLFLOW_BACKEND_STORE_URI": "postgresql://u:hunter2@h/db?nonsense=1&password=hunter2"},
    ):
        with pytest.raises(SettingError) as refusal:
            load({}, environ)
        assert "hunter2" not in str(refusal.value), environ


def test_the_key_of_webhooks_is_never_shown() -> None:
    """Right or wrong."""
    name = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"
    right = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    settings = load({}, {name: right})
    key = settings.webhook_secret_encryption_key
    assert key.encode().decode() == right
    for text in (repr(settings), shown(key), str(key), f"{key}", repr(key)):
        assert right not in text
    for wrong in (right[:-4], "not base64 at all", "é" * 40):
        with pytest.raises(SettingError, match=name) as refusal:
            load({}, {name: wrong})
        assert wrong not in str(refusal.value)
