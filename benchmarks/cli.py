"""The command line: run, compare, size, history, python-api, report, figures, install, list."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shlex
import signal
import sys
from pathlib import Path
from typing import Final

from benchmarks import (
    cases,
    client_table,
    compare,
    long_history,
    pages,
    peers,
    report,
    runner,
    servers,
    size,
)
from benchmarks.machine import versions
from benchmarks.results import Results

RESULTS: Final = Path(__file__).resolve().parent / "results"
COMMANDS: Final = (
    "run", "compare", "size", "history", "python-api", "report", "figures", "install", "list",
)  # fmt: skip


def _measuring(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--case",
        dest="cases",
        action="append",
        help="a case, repeatable; NAME* selects all with that prefix",
    )
    add("--rounds", type=int, help="rounds, alternating between servers (3; 1 with --quick)")
    add("--seconds", type=float, help="load per case and round (8; 3 with --quick)")
    add("--warmup", type=float, help="warm-up before each measurement (2; 1 with --quick)")
    add("--users", type=int, help="concurrent users (default of the case: 20, mix 12)")
    add("--postgres", metavar="URI", help="use this PostgreSQL (default: a private one, fsync on)")
    add("--work", type=Path, help="folder for databases and logs, kept (default: temporary)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure servers against each other (the default)")
    _measuring(run)
    run.add_argument("--quick", action="store_true", help="the main cases, one round: < 5 minutes")
    run.add_argument("--server", dest="servers", action="append", choices=list(servers.BY_NAME))
    run.add_argument(
        "--database", dest="databases", action="append", choices=["postgresql", "sqlite"]
    )
    run.add_argument("--no-probe", action="store_true", help="skip the raw-database probe")
    run.add_argument("--no-size", action="store_true", help="skip the sizes on disk")
    run.add_argument("--no-api", action="store_true", help="skip the Python API")
    run.add_argument("--out", type=Path, help="folder for the results (results/DATE)")
    two = commands.add_parser("compare", help="compare this tree of headrace with another revision")
    _measuring(two)
    two.add_argument("--base", required=True, help="git revision to compare with")
    two.add_argument("--database", default="postgresql", choices=["postgresql", "sqlite"])
    sizes = commands.add_parser("size", help="sizes on disk and import times")
    sizes.add_argument("--server", dest="servers", action="append", choices=list(size.IMPORTS))
    long = commands.add_parser("history", help="memory of one answer with millions of points")
    _measuring(long)
    long.add_argument("--server", dest="servers", action="append", choices=list(servers.BY_NAME))
    long.add_argument("--database", default="postgresql", choices=["postgresql", "sqlite"])
    long.add_argument("--points", type=int, action="append", help="repeat; 10^4, 10^6, 10^7")
    client = commands.add_parser(
        "python-api", help="the mlflow client with headrace disabled and enabled"
    )
    client.add_argument("--processes", type=int, default=2, help="per operation and cell (2)")
    client.add_argument("--values", type=int, default=3, help="per process (3)")
    client.add_argument("--warmups", type=int, default=1, help="per process, discarded (1)")
    client.add_argument("--out", type=Path, help="folder for the results (results/DATE-python-api)")
    page = commands.add_parser("report", help="write the page and charts of results.json again")
    page.add_argument("folder", type=Path)
    commands.add_parser(
        "figures", help="write the figures of README and docs from the results files"
    )
    commands.add_parser("install", help="install the peers")
    commands.add_parser("list", help="list the cases")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _install(chosen: list[servers.Server]) -> None:
    for server in chosen:
        if server.peer is not None and not server.peer.is_installed():
            _say(f"installing {server.name} into {server.peer.folder}")
            server.peer.install()


def _options(
    args: argparse.Namespace, defaults: tuple[int, float, float], chosen: list[cases.Case]
) -> runner.Options:
    rounds, seconds, warmup_s = defaults
    names = getattr(args, "servers", None) or list(servers.BY_NAME)
    databases = args.databases if args.command == "run" else [args.database]
    return runner.Options(
        servers=[servers.BY_NAME[name] for name in servers.BY_NAME if name in names],
        cases=chosen,
        databases=databases or ["postgresql"],
        rounds=rounds if args.rounds is None else args.rounds,
        seconds=seconds if args.seconds is None else args.seconds,
        warmup_s=warmup_s if args.warmup is None else args.warmup,
        users=args.users,
        probe=not getattr(args, "no_probe", False),
        python_api=not (getattr(args, "quick", True) or getattr(args, "no_api", True)),
        postgres_uri=args.postgres,
        work=args.work,
    )


def _run(args: argparse.Namespace, command: str) -> int:
    chosen = cases.chosen(args.cases, quick=args.quick)
    options = _options(args, (1, 3, 1) if args.quick else (3, 8, 2), chosen)
    if not (args.quick or args.databases):
        options = dataclasses.replace(options, databases=["postgresql", "sqlite"])
    _install(options.servers)
    results = runner.run(options, command)
    if not (args.quick or args.no_size):
        results.sizes = size.sizes([server.name for server in options.servers], _say)
    now = datetime.datetime.now(datetime.UTC)
    folder = args.out or RESULTS / now.strftime("%Y-%m-%d-%H%M")
    report.write(results, folder)
    sys.stdout.write(report.markdown(results))
    _say(f"written to {folder}")
    return 1 if any(row.error and row.server == "headrace" for row in results.samples) else 0


def _compare(args: argparse.Namespace) -> int:
    chosen = cases.chosen(args.cases or ["log-batch-10"])
    sys.stdout.write(compare.compare(args.base, _options(args, (5, 4, 1), chosen)))
    return 0


def _history(args: argparse.Namespace) -> int:
    args.servers = args.servers or ["headrace"]
    options = _options(args, (1, 1, 1), [])
    _install(options.servers)
    points = tuple(args.points or long_history.DEFAULT_POINTS)
    sys.stdout.write(long_history.run(options, points, _say))
    return 0


def _python_api(args: argparse.Namespace, command: str) -> int:
    now = datetime.datetime.now(datetime.UTC)
    folder = args.out or RESULTS / now.strftime("%Y-%m-%d-%H%M-python-api")
    counts = (args.processes, args.values, args.warmups)
    sys.stdout.write(client_table.run(command, folder, counts, _say))
    _say(f"written to {folder}")
    return 0


def _size(args: argparse.Namespace) -> int:
    names = args.servers or list(size.IMPORTS)
    titles = {name: {"title": server.title} for name, server in servers.BY_NAME.items()}
    results = Results(about={"servers": titles, "versions": versions()})
    results.sizes = size.sizes(names, _say)
    sys.stdout.write(report.sizes(results))
    return 0


def _list() -> int:
    rows = ([f"`{c.name}`", c.title, c.script, "yes" if c.quick else ""] for c in cases.CASES)
    sys.stdout.write(report.table(["case", "what", "script", "in --quick"], rows))
    return 0


def main(argv: list[str]) -> int:
    if not argv or (argv[0] not in COMMANDS and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    args = _parser().parse_args(argv)
    # On SIGTERM, stop the servers and write the results so far.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = shlex.join(["python", "-m", "benchmarks", *argv])
    if args.command == "run":
        return _run(args, command)
    if args.command == "compare":
        return _compare(args)
    if args.command == "history":
        return _history(args)
    if args.command == "python-api":
        return _python_api(args, command)
    if args.command == "size":
        return _size(args)
    if args.command == "report":
        report.write(Results.read(args.folder / "results.json"), args.folder)
        return 0
    if args.command == "figures":
        pages.main()
        return 0
    if args.command == "install":
        for peer in peers.PEERS:
            _say(f"installing {peer.name}")
            peer.install()
        return 0
    return _list()
