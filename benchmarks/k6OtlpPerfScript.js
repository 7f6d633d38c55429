// Spans as OpenTelemetry's exporters and MLflow's clients send them: POST /v1/traces with protobuf.
// Sizes: -e TRACES=1 -e SPANS=10 (of each trace); -e START=1 also sends the information of the trace
// (POST traces), as MLflow's clients do: one measured answer is then that of both requests.
import exec from "k6/execution";
import http from "k6/http";
import { createExperiment } from "./k6/runs.js";
import { JSON_BODY, measured, prepared, size } from "./k6/measure.js";
import { BASE, information, spans, traceId } from "./k6/traces.js";
export { handleSummary, options } from "./k6/measure.js";

const TRACES = size("TRACES", 1);
const START = size("START", 0);
const isTaken = (text) => text === null || text.length < 3;

export function setup() {
  return { experiment_id: createExperiment() };
}

export default function (data) {
  const headers = {
    "Content-Type": "application/x-protobuf",
    "x-mlflow-experiment-id": data.experiment_id,
  };
  const user = exec.vu.idInTest;
  const step = exec.vu.iterationInScenario;
  const body = spans(TRACES, user, step);
  if (START) {
    const taken = http.post(`${BASE}/v1/traces`, body, { headers, timeout: "60s" });
    if (taken.status !== 200) throw new Error(`the spans got ${taken.status} ${taken.body}`);
    const id = traceId(0, user, step);
    const text = information(id, data.experiment_id);
    const answer = http.post(`${BASE}/api/3.0/mlflow/traces`, text, JSON_BODY);
    measured(answer, (found) => found.length < 3 || found.includes(id));
  } else {
    measured(http.post(`${BASE}/v1/traces`, body, { headers, timeout: "60s" }), isTaken);
  }
}
