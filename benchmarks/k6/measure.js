// Shared by every script: the address of the server, the check of answers, the measurements.
// An answer is correct if its status is 200 and its content matches the request. One wrong answer
// fails the whole run (a threshold), so a server with fast errors is never reported as fast.
import encoding from "k6/encoding";
import exec from "k6/execution";
import { Gauge, Rate, Trend } from "k6/metrics";

const uri = (__ENV.MLFLOW_TRACKING_URI || "").replace(/\/+$/, "");
if (!/^https?:\/\//.test(uri)) {
  throw new Error("say where the server is: -e MLFLOW_TRACKING_URI=http://localhost:5000");
}

export const API = `${uri}/api/2.0/mlflow`;
export const API3 = `${uri}/api/3.0/mlflow`;
export const AJAX = `${uri}/ajax-api/2.0/mlflow`;
// On a server with users, requests log in as the admin; as in MLflow's clients.
const login = __ENV.MLFLOW_TRACKING_USERNAME
  ? basic(__ENV.MLFLOW_TRACKING_USERNAME, __ENV.MLFLOW_TRACKING_PASSWORD)
  : {};
export const JSON_BODY = requestOptions(login, { "Content-Type": "application/json" });
export const NO_BODY = requestOptions(login);

export function basic(name, password) {
  return { Authorization: `Basic ${encoding.b64encode(`${name}:${password}`)}` };
}

export function requestOptions(credentials, headers) {
  return { headers: Object.assign({}, headers, credentials), timeout: "60s" };
}

// The two kinds of the mix, and the lists of k6PageListsPerfScript.js.
const KINDS = [
  "log", "read", "datasets", "records", "scorers", "issues", "label_schemas", "review_queues", "items",
  "endpoints", "secrets", "model_definitions",
];
const latency = Object.fromEntries(
  ["answer", ...KINDS].map((kind) => [kind, new Trend(`${kind}_ms`, true)]),
);
const right = new Rate("right_answers");
const clock = new Gauge("clock_ms");

export const options = {
  setupTimeout: "20m",
  // Unused tags would cost the generator a tenth of its speed.
  systemTags: ["status"],
  summaryTrendStats: ["med", "p(95)", "p(99)", "max"],
  thresholds: { right_answers: ["rate==1"] },
};

export function size(name, fallback) {
  const value = Number(__ENV[name] === undefined ? fallback : __ENV[name]);
  if (!Number.isInteger(value) || value < 0) {
    throw new Error(`${name} must be a whole number, not ${__ENV[name]}`);
  }
  return value;
}

export function users() {
  return Object.values(exec.test.options.scenarios)[0].vus || 1;
}

export function occurrences(text, part) {
  return text.split(part).length - 1;
}

let complained = false;

function complain(response) {
  if (complained) return;
  complained = true;
  const text = String(response.body || response.error).slice(0, 300);
  console.error(`wrong answer to ${response.request.method} ${response.url}: ${response.status} ${text}`);
}

// Counts one measured request. `isRight` checks the body; `kind` is one of KINDS.
export function measured(response, isRight, kind) {
  const good = response.status === 200 && isRight(response.body);
  const ms = response.timings.duration;
  if (!good) complain(response);
  right.add(good);
  latency.answer.add(ms);
  if (kind) latency[kind].add(ms);
  const now = Date.now();
  if (exec.vu.iterationInScenario === 0) clock.add(now - ms);
  clock.add(now);
  return good;
}

// Requests of setup: not measured, and a failure ends the run.
export function prepared(response) {
  if (response.status !== 200) {
    throw new Error(`setup: ${response.url} answered ${response.status} ${response.body || response.error}`);
  }
  return response.json();
}

function figures(trend) {
  const v = trend.values;
  return { p50_ms: v.med, p95_ms: v["p(95)"], p99_ms: v["p(99)"], max_ms: v.max };
}

export function handleSummary(data) {
  const m = data.metrics;
  if (!m.right_answers || !m.clock_ms) return { stdout: "no request was measured\n" };
  const { passes, fails } = m.right_answers.values;
  const seconds = Math.max(m.clock_ms.values.max - m.clock_ms.values.min, 1) / 1000;
  const result = {
    requests: passes + fails,
    failures: fails,
    seconds,
    requests_per_s: (passes + fails) / seconds,
    ...figures(m.answer_ms),
    kinds: {},
    setup: data.setup_data,
  };
  const counts = m.log_requests;
  for (const kind of KINDS) {
    if (m[`${kind}_ms`]) result.kinds[kind] = figures(m[`${kind}_ms`]);
  }
  if (counts) result.kinds.log.requests = counts.values.count;
  const text =
    `${result.requests} requests in ${seconds.toFixed(1)} s, ${fails} wrong: ` +
    `${result.requests_per_s.toFixed(1)}/s, p50 ${result.p50_ms.toFixed(1)} ms, ` +
    `p95 ${result.p95_ms.toFixed(1)} ms, p99 ${result.p99_ms.toFixed(1)} ms\n`;
  const files = { stdout: text };
  if (__ENV.SUMMARY) files[__ENV.SUMMARY] = JSON.stringify(result);
  return files;
}
