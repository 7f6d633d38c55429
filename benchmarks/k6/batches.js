// Bodies of log-batch: each request writes rows that no other request writes.
// The text is built once and only the changing part is inserted (a join), because JSON.stringify of
// 500 metrics would cost the load generator more than the server.
import http from "k6/http";
import { API, JSON_BODY, measured, prepared, size } from "./measure.js";

const MARK = "@";

// Three pieces of JSON, with MARK at each place of the request's own text.
function template(count, item) {
  const text = Array.from({ length: count }, (_, i) => item(i)).join(",");
  return text.split(MARK);
}

export function batchTemplate({ metrics = 10, params = 0, tags = 0 } = {}) {
  return {
    metrics: template(metrics, (i) => `{"key":"metric_${i}",${MARK}${i}}`),
    params: template(params, (i) => `{"key":"param_${MARK}_${i}","value":"value of param ${i}"}`),
    tags: template(tags, (i) => `{"key":"tag_${i}","value":"tag ${i} at ${MARK}"}`),
  };
}

export function sizes(defaults) {
  return {
    metrics: size("METRICS", defaults.metrics || 0),
    params: size("PARAMS", defaults.params || 0),
    tags: size("TAGS", defaults.tags || 0),
  };
}

const START = Date.now().toString(36);

export function body(shape, runId, user, step) {
  const digits = Math.floor(Math.random() * 1e12);
  const metric = `"timestamp":${Date.now()},"step":${step},"value":0.${digits}`;
  const mark = `${START}_${user}_${step}`;
  return (
    `{"run_id":"${runId}","metrics":[${shape.metrics.join(metric)}],` +
    `"params":[${shape.params.join(mark)}],"tags":[${shape.tags.join(mark)}]}`
  );
}

const isEmptyObject = (text) => text.length < 9 && /^\s*\{\s*\}\s*$/.test(text);

export function logBatch(text, kind, options = JSON_BODY) {
  return measured(http.post(`${API}/runs/log-batch`, text, options), isEmptyObject, kind);
}

export function prepareBatch(text) {
  prepared(http.post(`${API}/runs/log-batch`, text, JSON_BODY));
}
