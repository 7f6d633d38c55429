// metric history: all points of one metric, in one answer.
// Run by hand, it first logs POINTS=10000 points; the runner seeds them (RUN_ID, METRIC).
import http from "k6/http";
import { API, NO_BODY, measured, occurrences, size } from "./k6/measure.js";
import { seedHistory } from "./k6/seeds.js";
export { handleSummary, options } from "./k6/measure.js";

const POINTS = size("POINTS", 10000);

export function setup() {
  return { run_id: __ENV.RUN_ID || seedHistory(POINTS) };
}

const isHistory = (text) => occurrences(text, '"timestamp"') === POINTS;

export default function (data) {
  const url = `${API}/metrics/get-history?run_id=${data.run_id}&metric_key=${__ENV.METRIC || "loss"}`;
  measured(http.get(url, NO_BODY), isHistory);
}
