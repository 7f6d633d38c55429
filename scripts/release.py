"""Make a release: `make release VERSION=0.2.0 URL=https://github.com/OWNER/headrace`.

Changes the version everywhere, dates the newest section of the changelog, commits, tags, and builds
and checks the wheel and the source distribution in dist/. Nothing is pushed or uploaded; the last
lines say how. Needs a clean checkout of main. `--dry-run` does all of it in a temporary clone.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
BIN: Final = Path(sys.executable).parent  # uv and twine are installed beside this Python
VERSION: Final = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
UNRELEASED: Final = "Unreleased"
# Files with the version, and the line in which it stands.
PLACES: Final = (
    ("pyproject.toml", 'version = "{}"'),
    ("src/headrace/version.py", '__version__: Final = "{}"'),
    ("CITATION.cff", "version: {}"),
    ("deploy/kubernetes/deployment.yaml", "image: headrace:{}"),
    ("deploy/kubernetes/gc.yaml", "image: headrace:{}"),
    ("deploy/helm/headrace/Chart.yaml", "version: {}"),
    ("deploy/helm/headrace/Chart.yaml", "appVersion: {}"),
)
RELATIVE: Final = re.compile(r"(!?\[[^\]]*\]\()(?!\w+:|#)([^)]+)\)")


class Refused(Exception):
    """The release cannot be made. The text says why."""


def run(*argv: str, cwd: Path) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run(argv, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def current_version(root: Path) -> str:
    """The version in pyproject.toml."""
    found = re.search(r'^version = "(.*)"', (root / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise Refused("pyproject.toml has no version")
    return found[1]


def set_version(root: Path, old: str, new: str, today: str) -> None:
    """Write the new version, and date its section of the changelog."""
    for name, line in PLACES:
        path = root / name
        text = path.read_text()
        if line.format(old) not in text:
            raise Refused(f"{name} has no line {line.format(old)!r}")
        path.write_text(text.replace(line.format(old), line.format(new)))
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text()
    newest = re.search(r"^## (\S+)(?: \((.*)\))?$", text, re.MULTILINE)
    if newest is None or newest[2] is not None or newest[1] not in (new, old, UNRELEASED):
        raise Refused(f"CHANGELOG.md needs a section '## {UNRELEASED}' at its top")
    text = text.replace(newest[0], f"## {new} ({today})", 1)
    changelog.write_text(text.replace(", not yet released.", ".", 1))


def with_addresses(root: Path, url: str, tag: str) -> None:
    """Make the copy's README readable outside of the repository, and add the project's URLs."""
    readme = root / "README.md"
    # Images as files, everything else as pages; both of the released version.
    pages, files = f"{url}/blob/{tag}/", f"{url}/raw/{tag}/"
    readme.write_text(
        RELATIVE.sub(
            lambda found: f"{found[1]}{files if found[1][0] == '!' else pages}{found[2]})",
            readme.read_text(),
        )
    )
    project = root / "pyproject.toml"
    urls = {"Homepage": url, "Changelog": f"{pages}CHANGELOG.md", "Issues": f"{url}/issues"}
    table = "\n".join(f'{name} = "{address}"' for name, address in urls.items())
    text = project.read_text()
    project.write_text(
        text.replace("[project.scripts]", f"[project.urls]\n{table}\n\n[project.scripts]", 1)
    )


def build(root: Path, revision: str, url: str, destination: Path) -> list[Path]:
    """Build and check both distributions of a revision, from a copy of it."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "headrace"
        run("git", "clone", "--quiet", str(root), str(copy), cwd=root)
        run("git", "checkout", "--quiet", revision, cwd=copy)
        with_addresses(copy, url, revision)
        shutil.rmtree(destination, ignore_errors=True)
        run(str(BIN / "uv"), "build", "--out-dir", str(destination), cwd=copy)
    made = sorted([*destination.glob("*.whl"), *destination.glob("*.tar.gz")])
    run(str(BIN / "twine"), "check", "--strict", *map(str, made), cwd=root)
    return made


def release(root: Path, version: str, url: str) -> list[Path]:
    """Commit, tag and build a version in this checkout; return the distributions."""
    if VERSION.fullmatch(version) is None:
        raise Refused(f"'{version}' is not a version such as 0.2.0 or 0.2.0rc1")
    if not url.startswith("https://"):
        raise Refused("URL is the address of the repository: https://…")
    if run("git", "status", "--porcelain", cwd=root):
        raise Refused("there are changes that are not committed")
    tag = f"v{version}"
    if run("git", "tag", "--list", tag, cwd=root):
        raise Refused(f"the tag {tag} exists")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    set_version(root, current_version(root), version, today)
    run("git", "commit", "--quiet", "--all", "--message", f"Release {version}", cwd=root)
    run("git", "tag", "--annotate", "--message", f"headrace {version}", tag, cwd=root)
    return build(root, tag, url.rstrip("/"), root / "dist")


def main() -> None:
    """Read the arguments, and say what follows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("url", help="address of the repository, for the links of the package")
    parser.add_argument("--dry-run", action="store_true", help="in a clone that is thrown away")
    given = parser.parse_args()
    try:
        if given.dry_run:
            with tempfile.TemporaryDirectory() as directory:
                clone = Path(directory) / "headrace"
                run("git", "clone", "--quiet", str(ROOT), str(clone), cwd=ROOT)
                made = [path.name for path in release(clone, given.version, given.url)]
        else:
            made = [str(path) for path in release(ROOT, given.version, given.url)]
    except Refused as error:
        sys.exit(str(error))
    print("made", *made, sep="\n  ")  # noqa: T201
    if not given.dry_run:
        print(f"publish: git push origin main v{given.version} && twine upload dist/*")  # noqa: T201


if __name__ == "__main__":
    main()
