"""mlflow-artifacts/*, artifacts/list, get-artifact and their like: paths in every spelling, and every header.

Conditions that depend on an answer's own entity tag are in tests/compat/test_artifact_conditions.py.
"""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run

OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
AJAX = "/ajax-api/2.0/mlflow-artifacts/artifacts"
LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def put(label: str, path: str, body: bytes = b"x", root: str = OBJECTS) -> Ask:
    return Ask(label, "PUT", f"{root}/{path}", body, headers={})


def fetch(label: str, path: str, **headers: str) -> Ask:
    return get(label, f"{OBJECTS}/{path}", headers=headers)


def remove(label: str, path: str) -> Ask:
    return Ask(label, "DELETE", f"{OBJECTS}/{path}")


def names(label: str, query: Any = "", **more: Any) -> Ask:
    return get(label, OBJECTS, query, **more)


# Refused by every verb: (label, spelling).
WAYS_OUT = (
    ("parent", "a/../b"),
    ("parent first", "../b"),
    ("parent alone", ".."),
    ("parent last", "a/.."),
    ("encoded parent", "a/%2e%2e/b"),
    ("parent, encoded twice", "%252e%252e/b"),
    ("parent, encoded thrice", "%25252e%25252e/b"),
    ("parent behind an encoded slash", "..%2fb"),
    ("absolute", "%2fetc%2fpasswd"),
    ("absolute, encoded twice", "%252fetc%252fpasswd"),
    ("absolute, plain", "/etc/passwd"),
    ("two slashes", "//etc/passwd"),
    ("drive", "C:/x"),
    ("drive with a backslash", "C:%5cx"),
    ("encoded drive", "%43:/x"),
    ("share", "%5c%5cserver%5cshare"),
    ("file URI", "file:/etc/passwd"),
    ("file URI with authority", "file:///etc/passwd"),
    ("relative file URI", "file:x"),
    ("file URI, upper case", "FILE:/etc/passwd"),
    ("encoded file URI", "file%3a/etc/passwd"),
    ("fragment", "a%23b"),
    ("fragment, encoded twice", "a%2523b"),
)
# Names that look odd and are fine.
ODD_NAMES = (
    ("backslash", "..%5cb"),
    ("NUL", "a%00b"),
    ("delete character", "a%7fb"),
    ("carriage return", "a%0db"),
    ("dots", "..."),
    ("two dots in a name", "a..b"),
    ("question mark", "a%3fb"),
    ("percent", "p%25b"),
    ("percent, encoded twice", "q%2525b"),
    ("blank inside", "a%20b"),
    ("encoded slash", "dir%2fb"),
    ("encoded twice slash", "dir%252fc"),
    ("two slashes inside", "dir//d"),
    ("relative drive", "c:x"),
    ("colon", "a:b"),
    ("semicolon", "a;b"),
    ("plus", "a+b"),
    ("unicode", "a%c3%a9b"),
    ("not UTF-8", "z%ffb"),
    ("full-width dots", "%ef%bc%8e%ef%bc%8e"),
    ("overlong dots", "%c0%ae%c0%ae"),
    ("tilde", "~"),
    ("brackets", "[a]"),
    ("hidden", ".hidden"),
    ("a query", "queried?a=1"),
    ("250 characters", "n" * 250),
)

PATHS = Dialogue(
    "artifact paths",
    tuple(
        ask
        for label, path in WAYS_OUT
        for ask in (
            put(f"put {label}", path),
            fetch(f"get {label}", path),
            names(f"list {label}", f"path={path}"),
        )
    )
    + tuple(remove(f"delete {label}", path) for label, path in WAYS_OUT if not path.startswith("/"))
    + tuple(
        ask
        for label, path in ODD_NAMES
        for ask in (put(f"put {label}", path, label.encode()), fetch(f"get {label}", path))
    )
    + (
        names("list them all"),
        names("list a dot", {"path": "."}),
        names("list a directory among them", {"path": "dir"}),
        put("put a directory", "dir"),
        put("put through a file", "~/x"),
        put("put a dot", "a/./b"),
        put("put a dot first", "./b"),
        put("put a dot last", "a/."),
        put("put a dot alone", "%2e"),
        put("put an empty query", "dir%3f"),
        put("put a bracket as an address", "/[a"),
        put("put 300 characters", "n" * 300),
        put("put a URI", "s3://bucket/key"),
        put("put a directory's name", "new/"),
        put("put nothing", ""),
        put("put blank", "%20"),
        put("put a staging file", ".artifact.uploading.x"),
        put("put a staging file below", "dir/.artifact.uploading.x"),
        fetch("get a staging file", ".artifact.uploading.x"),
        fetch("get 300 characters", "n" * 300),
        fetch("get through a file", "~/x"),
        fetch("get the root", ""),
        fetch("get a dot", "."),
        fetch("get blank", "%20"),
        fetch("get with a dot inside", "dir/./b"),
        names("list 300 characters", {"path": "n" * 300}),
        names("list a file", {"path": "~"}),
        names("list dots inside", {"path": "./dir/."}),
        names("list the first of two", "path=dir&path=nope"),
        remove("delete a name", "a..b"),
        remove("delete it again", "a..b"),
        remove("delete through a file", "~/x"),
        remove("delete 300 characters", "n" * 300),
        remove("delete a dot", "."),
        remove("delete blank", "%20"),
    ),
    databases=("sqlite",),
)

KINDS = (
    *("a.txt", "a.log", "a.json", "a.yaml", "a.yml", "a.xml", "a.py", "a.js", "a.csv", "a.tsv"),
    *("a.md", "a.rst", "a.ipynb", "a.toml", "a.ini", "a.cfg", "a.conf", "a.properties", "MLmodel"),
    *(
        "mlproject",
        "MLproject",
        "a.html",
        "a.png",
        "a.jpg",
        "a.svg",
        "a.pdf",
        "a.pkl",
        "a.tar.gz",
        "a.bin",
    ),
    *("a.TXT", "a.", "noending", "a.b.json", "a%20b.txt", "a%22b.txt", "%c3%a9.txt", "%e6%97%a5"),
    *("a;b.txt", "a'b.txt", "a,b.txt"),
)

TYPES = Dialogue(
    "artifact types",
    tuple(
        ask
        for name in KINDS
        for ask in (
            put(f"put {name}", f"types/{name}"),
            fetch(f"get {name}", f"types/{name}"),
            Ask(f"head {name}", "HEAD", f"{AJAX}/types/{name}"),
        )
    ),
    databases=("sqlite",),
)

RANGES = (
    *("0-4", "5-", "-3", "-30", "0-100", "25-25", "26-", "30-40", "5-2", "0-1,3-4", "0-3,2-5"),
    *(
        "0-1,30-31",
        "abc",
        "",
        "-",
        "0-0",
        "-0",
        "1-2,",
        "--1",
        "+1-2",
        "1_0-11",
        " 1 - 2 ",
        "-5,0-1",
    ),
    ",".join(["0-0"] * 101),
)


def ranged(kind: str, where: Ask) -> tuple[Ask, ...]:
    units = [f"bytes={text}" for text in RANGES]
    units += ["bytes", "items=0-1", "BYTES=0-1", "bytes = 0-1", "=0-1"]
    return tuple(
        get(f"{kind} range {n}: {text[:30]}", where.path, where.query, headers={"Range": text})
        for n, text in enumerate(units)
    )


DOWNLOADS = Dialogue(
    "artifact downloads",
    (
        put("put", "downloads/b.bin", LETTERS),
        put("put by the page's prefix", "downloads/c.bin", LETTERS, AJAX),
        put("put nothing at all", "downloads/zero", b""),
        fetch("get", "downloads/b.bin"),
        fetch("get nothing at all", "downloads/zero"),
        fetch("get a range of nothing", "downloads/zero", Range="bytes=0-0"),
        fetch("get with a slash", "downloads/b.bin/"),
        fetch("get a directory", "downloads"),
        fetch("get a directory with a slash", "downloads/"),
        fetch("get what is not there", "downloads/nope"),
        fetch("get if changed", "downloads/b.bin", **{"If-None-Match": "*"}),
        fetch("get an old range", "downloads/b.bin", **{"Range": "bytes=0-1", "If-Range": '"x"'}),
        Ask("head", "HEAD", f"{OBJECTS}/downloads/b.bin"),
        Ask("head a range", "HEAD", f"{OBJECTS}/downloads/b.bin", headers={"Range": "bytes=0-1"}),
        Ask("head a directory", "HEAD", f"{OBJECTS}/downloads"),
        Ask("head what is not there", "HEAD", f"{OBJECTS}/downloads/nope"),
        post("post an object", f"{OBJECTS}/downloads/b.bin", b"x"),
        names("list", {"path": "downloads"}),
        names("list with a slash", {"path": "downloads/"}),
        names("list what is not there", {"path": "nope"}),
        names("list with an unknown parameter", {"path": "downloads", "page_token": "x"}),
        *ranged("object", fetch("", "downloads/b.bin")),
        remove("delete the directory", "downloads"),
        names("list what was deleted", {"path": "downloads"}),
    ),
    databases=("sqlite",),
)

UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact"
PAGE = "/get-artifact"


def upload(label: str, query: Any, body: bytes = b"data", kind: str | None = None) -> Ask:
    headers = {"Content-Type": kind} if kind else {}
    return Ask(label, "POST", UPLOAD, body, query=query, headers=headers)


def page(label: str, query: Any, **headers: str) -> Ask:
    return get(label, PAGE, query, headers=headers)


RUNS = Dialogue(
    "artifacts of runs",
    (
        experiment(),
        run(keep="run"),
        get("list none", "artifacts/list", {"run_id": "$run"}),
        put("put", "$exp/$run/artifacts/b.bin", LETTERS),
        put("put below", "$exp/$run/artifacts/d/a.txt", b"hello"),
        put("put nothing", "$exp/$run/artifacts/zero", b""),
        upload("upload", {"run_uuid": "$run", "path": "up.txt"}),
        upload("upload below", {"run_uuid": "$run", "path": "u/v.txt"}),
        upload("upload JSON", {"run_uuid": "$run", "path": "j.json"}, b"{}", "application/json"),
        upload(
            "upload a form",
            {"run_uuid": "$run", "path": "f"},
            b"a=b",
            "application/x-www-form-urlencoded",
        ),
        upload("upload no data", {"run_uuid": "$run", "path": "f"}, b""),
        upload("upload no path", {"run_uuid": "$run"}),
        upload("upload an empty path", {"run_uuid": "$run", "path": ""}),
        upload("upload no run", {"path": "f"}),
        upload("upload with both names", {"run_uuid": "$run", "run_id": "$run", "path": "both"}),
        upload("upload to no run of ours", {"run_uuid": "nope", "path": "f"}),
        upload("upload out", {"run_uuid": "$run", "path": "../f"}),
        upload("upload out, encoded", {"run_uuid": "$run", "path": "%2e%2e/f"}),
        upload("upload to a directory", {"run_uuid": "$run", "path": "d"}),
        upload("upload with a dot", {"run_uuid": "$run", "path": "u/./w"}),
        upload(
            "upload 10 MB and one byte", {"run_uuid": "$run", "path": "f"}, b"x" * ((10 << 20) + 1)
        ),
        get("list", "artifacts/list", {"run_id": "$run"}),
        get("list by run_uuid", "artifacts/list", {"run_uuid": "$run"}),
        get("list below", "artifacts/list", {"run_id": "$run", "path": "d"}),
        get("list below, with a slash", "artifacts/list", {"run_id": "$run", "path": "d/"}),
        get("list below, with a dot", "artifacts/list", {"run_id": "$run", "path": "./d"}),
        get("list an empty path", "artifacts/list", {"run_id": "$run", "path": ""}),
        get("list a dot", "artifacts/list", {"run_id": "$run", "path": "."}),
        get("list a file", "artifacts/list", {"run_id": "$run", "path": "b.bin"}),
        get("list nothing", "artifacts/list", {"run_id": "$run", "path": "nope"}),
        get("list out", "artifacts/list", {"run_id": "$run", "path": "../.."}),
        get("list out, of no run", "artifacts/list", {"run_id": "nope", "path": ".."}),
        get("list no run of ours", "artifacts/list", {"run_id": "nope"}),
        get("list no run", "artifacts/list", {"path": "d"}),
        page("get", {"run_id": "$run", "path": "b.bin"}),
        page("get by run_uuid", {"run_uuid": "$run", "path": "d/a.txt"}),
        page("get by an empty run_id", {"run_id": "", "run_uuid": "$run", "path": "d/a.txt"}),
        page("get by both", {"run_id": "nope", "run_uuid": "$run", "path": "d/a.txt"}),
        page("get nothing at all", {"run_id": "$run", "path": "zero"}),
        page("get with a slash", {"run_id": "$run", "path": "d/a.txt/"}),
        page("get with a dot", {"run_id": "$run", "path": "d/./a.txt"}),
        page("get a directory", {"run_id": "$run", "path": "d"}),
        page("get the root", {"run_id": "$run", "path": ""}),
        page("get what is not there", {"run_id": "$run", "path": "d/nope"}),
        page("get out", {"run_id": "$run", "path": "../x"}),
        page("get out, encoded", "run_id=$run&path=%252e%252e"),
        page("get out, of no run", {"run_id": "nope", "path": ".."}),
        page("get of no run of ours", {"run_id": "nope", "path": "x"}),
        page("get of no run", {"path": "x"}),
        page("get no path", {"run_id": "$run"}),
        page(
            "get if there is another",
            {"run_id": "$run", "path": "b.bin"},
            **{"If-None-Match": '"x"'},
        ),
        page("get if there is any", {"run_id": "$run", "path": "b.bin"}, **{"If-None-Match": "*"}),
        page("get if it is this", {"run_id": "$run", "path": "b.bin"}, **{"If-Match": '"x"'}),
        page("get if it is any", {"run_id": "$run", "path": "b.bin"}, **{"If-Match": "*"}),
        page(
            "get if newer than long ago",
            {"run_id": "$run", "path": "b.bin"},
            **{"If-Modified-Since": "Mon, 01 Jan 2018 00:00:00 GMT"},
        ),
        page(
            "get if newer than the future",
            {"run_id": "$run", "path": "b.bin"},
            **{"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        ),
        page(
            "get if newer than nonsense",
            {"run_id": "$run", "path": "b.bin"},
            **{"If-Modified-Since": "nonsense"},
        ),
        Ask("head", "HEAD", PAGE, query={"run_id": "$run", "path": "b.bin"}),
        *ranged("page", page("", {"run_id": "$run", "path": "b.bin"})),
        page("get a range of nothing", {"run_id": "$run", "path": "zero"}, Range="bytes=0-1"),
        post(
            "multipart create",
            "/api/2.0/mlflow-artifacts/mpu/create/x",
            {"path": "p", "num_parts": 1},
        ),
        post(
            "multipart create, no path", "/api/2.0/mlflow-artifacts/mpu/create/x", {"num_parts": 1}
        ),
        post("multipart create, out", "/api/2.0/mlflow-artifacts/mpu/create/..%2fx", {"path": "p"}),
        post(
            "multipart complete",
            "/api/2.0/mlflow-artifacts/mpu/complete/x",
            {"path": "p", "upload_id": "u", "parts": [{"part_number": 1, "etag": "e"}]},
        ),
        post(
            "multipart complete, no parts",
            "/api/2.0/mlflow-artifacts/mpu/complete/x",
            {"path": "p"},
        ),
        post(
            "multipart abort",
            "/api/2.0/mlflow-artifacts/mpu/abort/x",
            {"path": "p", "upload_id": "u"},
        ),
        get("presigned", "/api/2.0/mlflow-artifacts/presigned/x"),
        post("presigned upload", "artifacts/presigned-upload-url", {"run_id": "$run", "path": "x"}),
        post("presigned upload of nobody", "artifacts/presigned-upload-url", {"path": "x"}),
        post(
            "presigned upload of two",
            "artifacts/presigned-upload-url",
            {"path": "x", "run_id": "$run", "model_id": "m"},
        ),
        post(
            "presigned upload out",
            "artifacts/presigned-upload-url",
            {"path": "..", "run_id": "$run"},
        ),
        post(
            "presigned upload of no run of ours",
            "artifacts/presigned-upload-url",
            {"path": "x", "run_id": "nope"},
        ),
        post(
            "presigned download",
            "artifacts/presigned-download-url",
            {"run_id": "$run", "path": "x"},
        ),
        post(
            "presigned download for too short",
            "artifacts/presigned-download-url",
            {"run_id": "$run", "path": "x", "expiration": 0},
        ),
        post(
            "presigned download for too long",
            "artifacts/presigned-download-url",
            {"run_id": "$run", "path": "x", "expiration": 604801},
        ),
        post("presigned download, no run", "artifacts/presigned-download-url", {"path": "x"}),
        post("delete the run", "runs/delete", {"run_id": "$run"}),
        page("get of a deleted run", {"run_id": "$run", "path": "d/a.txt"}),
    ),
)


def version(label: str, query: Any) -> Ask:
    return get(label, "/model-versions/get-artifact", query)


MODELS = Dialogue(
    "artifacts of models",
    (
        experiment(),
        run(),
        post("a model", "registered-models/create", {"name": "artifacts"}),
        post(
            "a version",
            "model-versions/create",
            {
                "name": "artifacts",
                "run_id": "$run",
                "source": "mlflow-artifacts:/$exp/$run/artifacts/model",
            },
        ),
        put("put", "$exp/$run/artifacts/model/MLmodel", b"a: 1"),
        version("get", {"name": "artifacts", "version": 1, "path": "MLmodel"}),
        version("get version 01", {"name": "artifacts", "version": "01", "path": "MLmodel"}),
        version("get what is not there", {"name": "artifacts", "version": 1, "path": "zz"}),
        version("get a directory", {"name": "artifacts", "version": 1, "path": ""}),
        version("get no path", {"name": "artifacts", "version": 1}),
        version("get no name", {"version": 1, "path": "x"}),
        version("get an impossible name", {"name": "a/b", "version": 1, "path": "x"}),
        version("get out", {"name": "artifacts", "version": 1, "path": ".."}),
        version("get another version", {"name": "artifacts", "version": 99, "path": "x"}),
        version("get another model", {"name": "nope", "version": 1, "path": "x"}),
        version("get no number", {"name": "artifacts", "version": "abc", "path": "x"}),
        version("get an empty number", {"name": "artifacts", "version": "", "path": "x"}),
        version("get a huge number", {"name": "artifacts", "version": "9" * 20, "path": "x"}),
        get(
            "list of no model of ours",
            "logged-models/m-nope/artifacts/directories",
        ),
        get(
            "get of no model of ours",
            "/ajax-api/2.0/mlflow/logged-models/m-nope/artifacts/files",
            {"artifact_file_path": "x"},
        ),
        get(
            "get of no model of ours, out",
            "/ajax-api/2.0/mlflow/logged-models/m-nope/artifacts/files",
            {"artifact_file_path": ".."},
        ),
        get("get of a model, no path", "/ajax-api/2.0/mlflow/logged-models/m-nope/artifacts/files"),
    ),
)

DIALOGUES = [PATHS, TYPES, DOWNLOADS, RUNS, MODELS]
