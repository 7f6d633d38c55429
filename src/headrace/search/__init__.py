"""The search languages: turns filters, order_by and page tokens into one statement per page. No I/O.

    page = search.runs_page(
        experiment_ids=[1], filter="metrics.acc > 0.9", order_by=["start_time DESC"],
        stages=("active",), max_results=100, page_token=None, dialect=tx.dialect,
    )
    rows, next_page_token = page.cut(await tx.fetch(statement(page.text), *page.args))

The lexer, grouping and parser turn text into the conditions of tree.py. The module of each resource
defines its fields, operators and SQL; compile.py contains the SQL they share.
"""

from headrace.search.compile import Page
from headrace.search.datasets import datasets_page
from headrace.search.experiments import EXPERIMENT_COLUMNS, experiments_page
from headrace.search.gateway import GatewayRows, gateway_rows
from headrace.search.issues import issues_count, issues_page
from headrace.search.logged_models import (
    LOGGED_MODEL_COLUMNS,
    ModelDataset,
    ModelSort,
    logged_models_page,
)
from headrace.search.pages import check_max_results, check_page_size, offset_of, page_token
from headrace.search.registry import (
    MODEL_VERSION_COLUMNS,
    REGISTERED_MODEL_COLUMNS,
    Scopes,
    model_versions_page,
    registered_models_page,
)
from headrace.search.runs import RUN_COLUMNS, runs_page
from headrace.search.traces import correlation_counts, traces_page

__all__ = [
    "EXPERIMENT_COLUMNS",
    "LOGGED_MODEL_COLUMNS",
    "MODEL_VERSION_COLUMNS",
    "REGISTERED_MODEL_COLUMNS",
    "RUN_COLUMNS",
    "GatewayRows",
    "ModelDataset",
    "ModelSort",
    "Page",
    "Scopes",
    "check_max_results",
    "check_page_size",
    "correlation_counts",
    "datasets_page",
    "experiments_page",
    "gateway_rows",
    "issues_count",
    "issues_page",
    "logged_models_page",
    "model_versions_page",
    "offset_of",
    "page_token",
    "registered_models_page",
    "runs_page",
    "traces_page",
]
