"""Every limit, with its unit and the file of MLflow that defines it. Other modules import them."""

from __future__ import annotations

from typing import Final

# mlflow/utils/validation.py (3.17.2)
MAX_METRICS_PER_BATCH: Final = 1000  # metrics per log-batch
MAX_PARAMS_PER_BATCH: Final = 100  # params per log-batch
MAX_TAGS_PER_BATCH: Final = 100  # tags per log-batch
MAX_ENTITIES_PER_BATCH: Final = 1000  # metrics, params and tags per log-batch, in total
MAX_ENTITY_KEY: Final = 250  # characters of a metric, param or tag key
# Characters; longer values are cut (MLFLOW_TRUNCATE_LONG_VALUES) or rejected.
MAX_PARAM_VALUE: Final = 6000
MAX_TAG_VALUE: Final = 8000  # characters; longer values are cut or rejected
MAX_EXPERIMENT_NAME: Final = 500  # characters
MAX_EXPERIMENT_TAG_KEY: Final = 250  # characters
MAX_EXPERIMENT_TAG_VALUE: Final = 20000  # characters; longer values are rejected
MAX_CUSTOM_VIEWS: Final = 50  # tags of one experiment that hold a saved view
MAX_TRACE_RETENTION: Final = 32  # characters of a duration such as 30d
MAX_DATASET_NAME: Final = 500  # characters
MAX_DATASET_DIGEST: Final = 36  # characters
MAX_DATASET_SOURCE: Final = 65535  # characters
MAX_DATASET_SCHEMA: Final = 1048575  # characters
MAX_DATASET_PROFILE: Final = 16777215  # characters
MAX_INPUT_TAG_KEY: Final = 255  # characters
MAX_INPUT_TAG_VALUE: Final = 500  # characters
MAX_REGISTRY_TAG_KEY: Final = 250  # characters; tags of registered models and model versions
MAX_REGISTRY_TAG_VALUE: Final = 100_000  # characters; longer values are rejected
MAX_ALIAS: Final = 255  # characters

# mlflow/store/tracking/__init__.py
SEARCH_MAX_RESULTS_DEFAULT: Final = 1000  # runs per page
SEARCH_MAX_RESULTS: Final = 50000  # runs or experiments per page
SEARCH_LOGGED_MODELS_DEFAULT: Final = 100  # logged models per page; without a maximum

# mlflow/store/model_registry/__init__.py
SEARCH_REGISTERED_MODELS_DEFAULT: Final = 100  # registered models per page
SEARCH_MAX_REGISTERED_MODELS: Final = 1000  # registered models per page
SEARCH_MAX_MODEL_VERSIONS: Final = 200_000  # model versions per page, and the default

# mlflow/store/model_registry/sqlalchemy_store.py
LIST_WEBHOOKS_DEFAULT: Final = 100  # webhooks per page
LIST_MAX_WEBHOOKS: Final = 1000  # webhooks per page

# mlflow/tracing/constant.py
MAX_SHOWN_METADATA: Final = 250  # characters of keys and values of a trace's metadata in answers
MAX_SHOWN_TRACE_TAG_KEY: Final = 250  # characters in answers
MAX_SHOWN_TRACE_TAG_VALUE: Final = 4096  # characters in answers

# mlflow/server/handlers.py
MAX_SEARCH_TRACES: Final = 500  # traces per page
SEARCH_TRACES_DEFAULT: Final = 100  # traces per page
METRIC_GROUPS_DEFAULT: Final = 1000  # data points of traces/metrics
MAX_HISTORY_BULK_RUNS: Final = 100  # run ids per get-history-bulk and -bulk-interval
MAX_HISTORY_BULK_ROWS: Final = 25000  # points per get-history-bulk
MAX_HISTORY_INTERVAL_ROWS: Final = 2500  # points per run of get-history-bulk-interval
MAX_SEARCH_DATASETS_EXPERIMENTS: Final = 20  # experiment ids per search-datasets
MAX_SEARCH_DATASETS_ROWS: Final = 1000  # summaries per search-datasets

# Limits of headrace only, so that no request blocks the event loop (contract/value_count.py)
MAX_JSON_BYTES: Final = 20 << 20  # body of a JSON route; a dataset's profile may have 16 MiB
# Values of a body, counted as commas; the largest log-batch has 8,000.
MAX_BODY_VALUES: Final = 50_000
MAX_RECORD_VALUES: Final = 500_000  # values in the JSON text of the records of an upsert
MAX_OTLP_BYTES: Final = 32 << 20  # body of /v1/traces, decompressed
MAX_OTLP_JSON_BYTES: Final = 8 << 20  # the same as JSON, whose values take more memory
MAX_OTLP_SPANS: Final = 50_000  # spans per request
MAX_OTLP_CONTENT: Final = 64 << 20  # characters of the JSON that is stored for a request
MAX_SPAN_BYTES: Final = 16 << 20  # of a span in a request
MAX_SPAN_ITEMS: Final = 10_000  # attributes, events and links of a span
# Values inside the attributes of a span and of its events and links; they are written in one call.
MAX_SPAN_VALUES: Final = 100_000
# Characters of the JSON that is stored for a span; a text of quotes becomes four times as long.
MAX_SPAN_CONTENT: Final = 32 << 20
MAX_JSON_SPAN_BYTES: Final = 4 << 20  # of a span in a request in JSON
MAX_INTERPRETED: Final = 1 << 20  # characters of an attribute's JSON; a longer one is only stored
MAX_PATTERN: Final = 700  # characters of a regular expression, each repetition `{n}` written out
MAX_TEXT: Final = 100_000  # characters of a text without a smaller limit
MAX_EXPLAINED_BYTES: Final = 4 << 20  # body that only the slow parser (http/proto.py) can read
MAX_EXPLAINED_VALUES: Final = 10_000  # values of such a body; each takes some microseconds
MAX_GRAPHQL_BYTES: Final = 1 << 20  # body of /graphql; 50,000 experiment ids are half of that
MAX_JOB_SEARCH_BYTES: Final = 1 << 20  # body of jobs/search, of which a few are held in memory
MAX_ACCOUNT_BYTES: Final = 64 << 10  # body of the routes of users, roles and grants
MAX_SECRET_BYTES: Final = 1 << 20  # body of the routes that store secrets
MAX_METRIC_GROUPS: Final = 50_000  # data points of traces/metrics
MAX_PAGE_TOKEN: Final = 1000  # characters
MAX_ISSUES_TOKEN: Final = 300_000  # characters; it repeats the sort values of an issue
MAX_LOGGED_MODELS_TOKEN: Final = 3_000_000  # characters; it repeats the request
MAX_SCORER: Final = 1_000_000  # characters of the JSON text of a scorer
MAX_MODEL_JSON: Final = 2_000_000  # characters of the JSON text of an MLmodel file

# Limits of headrace only. Without them, as in MLflow, databases fail, crash or plan for minutes.
MAX_FILTER_CHARACTERS: Final = 64 << 10  # characters of a filter, without lists of plain strings
MAX_FILTER_LISTS: Final = 1_000_000  # characters of a filter with its lists; 25,000 run ids
MAX_LIST_VALUES: Final = 50_000  # values of a list in a filter
MAX_FILTER_TOKENS: Final = 10_000  # tokens of a filter; MLflow counts spaces too
MAX_FILTER_COMPARISONS: Final = 500  # comparisons per filter; SQLite's limit is 1,000 AND-ed terms
MAX_FILTER_DEPTH: Final = 50  # NOT and parentheses within each other
MAX_SORT_CHARACTERS: Final = 1000  # characters of one item of order_by; a key has at most 250
# Items of order_by; SQLite 3.40 crashes at 64 terms, and a metric needs two.
MAX_SORT_FIELDS: Final = 30
MAX_DATASET_TESTS: Final = 500  # datasets times metric conditions in a search for logged models
