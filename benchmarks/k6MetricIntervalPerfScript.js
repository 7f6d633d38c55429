// metric history as in the web page's charts: a sample of MAX_RESULTS=320 points of a long metric.
// Run by hand, it first logs POINTS=100000 points; the runner seeds 1,000,000 (RUN_ID, METRIC).
import http from "k6/http";
import { AJAX, NO_BODY, measured, occurrences, size } from "./k6/measure.js";
import { seedHistory } from "./k6/seeds.js";
export { handleSummary, options } from "./k6/measure.js";

const SAMPLE = size("MAX_RESULTS", 320);

export function setup() {
  return { run_id: __ENV.RUN_ID || seedHistory(size("POINTS", 100000)) };
}

// MLflow 2 adds the last point to the sample; in MLflow 3 it replaces the last point of the sample.
// headrace sends fewer points if one is both the first and the largest.
const isSample = (text) => {
  const points = occurrences(text, '"timestamp"');
  return SAMPLE - 3 < points && points <= SAMPLE + 1;
};

export default function (data) {
  const query = `run_ids=${data.run_id}&metric_key=${__ENV.METRIC || "loss"}&max_results=${SAMPLE}`;
  measured(http.get(`${AJAX}/metrics/get-history-bulk-interval?${query}`, NO_BODY), isSample);
}
