// search experiments: a page of 100 by name. All requests differ.
// Run by hand, it first creates 100 experiments; the runner seeds 200.
import exec from "k6/execution";
import http from "k6/http";
import { API, JSON_BODY, measured, occurrences, prepared, size } from "./k6/measure.js";
export { handleSummary, options } from "./k6/measure.js";

const EXPECTED = size("MAX_RESULTS", 100);

export function setup() {
  if (__ENV.PREFIX) return { prefix: __ENV.PREFIX };
  const prefix = `k6-${Date.now()}-`;
  for (let i = 0; i < EXPECTED; i++) {
    prepared(http.post(`${API}/experiments/create`, JSON.stringify({ name: `${prefix}${i}` }), JSON_BODY));
  }
  return { prefix };
}

export default function (data) {
  const request = JSON.stringify({
    filter: `name LIKE '${data.prefix}%' AND name != 'other-${exec.scenario.iterationInTest}'`,
    order_by: ["name ASC"],
    max_results: EXPECTED,
  });
  const isPage = (text) =>
    occurrences(text, `"${data.prefix}`) === EXPECTED && occurrences(text, '"experiment_id"') === EXPECTED;
  measured(http.post(`${API}/experiments/search`, request, JSON_BODY), isPage);
}
