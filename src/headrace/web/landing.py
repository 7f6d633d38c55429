"""headrace's own pages: the landing page and the list of routes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from headrace.extras import install_command
from headrace.http.messages import Response
from headrace.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Database

HTML: Final = "text/html; charset=utf-8"
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:4rem auto;padding:0 1rem;"
    "color:#1f2933}code,pre{background:#f0f2f5;padding:.1em .3em;border-radius:4px}"
    "pre{padding:.8em 1em}td{padding:.1em 1em .1em 0}dt{font-weight:600}"
)
DATABASES: Final = {"postgres": "PostgreSQL", "sqlite": "SQLite"}


def landing_page(db: Database) -> Response:
    """The page at / when MLflow's page is not installed."""
    return page(
        "headrace",
        f"""<h1>headrace {escape(__version__)}</h1>
<p>This tracking server is running. MLflow clients may use it now: set
<code>MLFLOW_TRACKING_URI</code> to this address.</p>
<dl><dt>Database</dt><dd>{DATABASES[db.dialect]}, schema {escape(db.schema.head)}</dd>
<dt>API</dt><dd><a href="headrace/api">every route that it answers</a></dd></dl>
<h2>The full page</h2>
<p>Experiments, runs, charts and models are shown by MLflow's own web page, which comes with the
<code>mlflow</code> package. Install it beside headrace, then start headrace again:</p>
<pre>{escape(install_command("mlflow"))}</pre>
""",
    )


def listing_page(rows: Sequence[tuple[str, str, bool]]) -> Response:
    """The routes as a table: method, path, whether headrace answers it itself."""
    lines = "".join(
        f"<tr><td>{escape(method)}</td><td><code>{escape(path)}</code></td>"
        f"<td>{'' if native else 'MLflow'}</td></tr>\n"
        for method, path, native in rows
    )
    own = sum(native for _, _, native in rows)
    return page(
        "headrace: routes",
        f"""<h1>Routes</h1>
<p>headrace answers {own} of these {len(rows)} routes itself. For the others it starts MLflow, which
must be installed, too. Routes below <code>/api</code> are also served below
<code>/ajax-api</code>.</p>
<table>
{lines}</table>
""",
    )


def page(title: str, body: str) -> Response:
    text = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n{body}</html>\n"
    )
    return Response(text.encode(), content_type=HTML, headers=[("cache-control", "no-cache")])
