// search runs: a page of 100 runs by filter and order.
// Run by hand, it first creates RUNS=1000 runs; the runner seeds them (EXPERIMENT_ID).
// Filter: -e FILTER="…" -e ORDER_BY="metrics.accuracy DESC" -e MAX_RESULTS=100
// All requests differ, so a server gains nothing by sharing answers; with -e ALIKE=1 they are equal.
// -e NEWEST=1: no filter and no order, as the web page's first call; pages of 81 to 100 runs.
import exec from "k6/execution";
import http from "k6/http";
import { API, JSON_BODY, measured, occurrences, size } from "./k6/measure.js";
import { seedRuns } from "./k6/seeds.js";
export { handleSummary, options } from "./k6/measure.js";

const EXPECTED = size("MAX_RESULTS", 100);

export function setup() {
  return { experiment_id: __ENV.EXPERIMENT_ID || seedRuns(size("RUNS", 1000)).experiment_id };
}

const FILTER = __ENV.FILTER || "metrics.loss < 0.9 and params.optimizer = 'adam'";
const filter = () =>
  __ENV.ALIKE ? FILTER : `${FILTER} and metrics.loss < ${1000 + exec.scenario.iterationInTest}`;

export default function (data) {
  const count = EXPECTED - (__ENV.NEWEST ? exec.scenario.iterationInTest % 20 : 0);
  const asked = __ENV.NEWEST
    ? {}
    : { filter: filter(), order_by: [__ENV.ORDER_BY || "metrics.accuracy DESC"] };
  const request = { experiment_ids: [data.experiment_id], max_results: count, ...asked };
  const isPage = (text) => occurrences(text, '"run_uuid"') === count;
  measured(http.post(`${API}/runs/search`, JSON.stringify(request), JSON_BODY), isPage);
}
