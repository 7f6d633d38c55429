"""Calls of the OpenAI library, traced by mlflow.openai.autolog(), to a model in this process. Runs under mlflow 3.

Argument: the name of the experiment. Prints as JSON the ids, or `missing` without the library.
"""

import contextlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Paris, é"},
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


class Model(BaseHTTPRequestHandler):
    """Answers as OpenAI's service."""

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        asked = json.loads(self.rfile.read(length))
        refused = asked["messages"][0]["content"] == "fail"
        body = json.dumps({"error": {"message": "no"}} if refused else ANSWER).encode()
        self.send_response(400 if refused else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


def main() -> None:
    try:
        import openai
    except ImportError:
        json.dump({"missing": "openai"}, sys.stdout)
        return
    service = HTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    experiment_id = mlflow.set_experiment(sys.argv[1]).experiment_id
    mlflow.openai.autolog()
    url = f"http://127.0.0.1:{service.server_port}/v1"
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    trace_ids = []
    for text in ("Which city?", "fail"):
        with contextlib.suppress(openai.BadRequestError):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": text}]
            )
        trace_ids.append(mlflow.get_last_active_trace_id())
    mlflow.flush_trace_async_logging()
    service.shutdown()
    json.dump({"experiment_id": experiment_id, "trace_ids": trace_ids}, sys.stdout)


if __name__ == "__main__":
    main()
