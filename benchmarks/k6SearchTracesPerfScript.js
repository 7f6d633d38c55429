// search traces: a page of 100 traces by filter, the newest first.
// The runner seeds the traces (EXPERIMENT_ID, FILTER, FOUND: how many are on the page).
// All requests differ, so a server gains nothing by sharing answers; with -e ALIKE=1 they are equal.
import exec from "k6/execution";
import http from "k6/http";
import { API3, JSON_BODY, measured, occurrences, size } from "./k6/measure.js";
export { handleSummary, options } from "./k6/measure.js";

const FOUND = size("FOUND", 100);
const FILTER = __ENV.FILTER || "";
const BEGIN = `{"locations":[{"type":"MLFLOW_EXPERIMENT","mlflow_experiment":{"experiment_id":"${__ENV.EXPERIMENT_ID}"}}],"max_results":100,"filter":`;
const YEAR_2100_MS = 4102444800000;

// Every trace of the experiment is older.
const filter = () => {
  if (__ENV.ALIKE) return FILTER;
  const bound = `timestamp_ms < ${YEAR_2100_MS + exec.scenario.iterationInTest}`;
  return FILTER ? `${FILTER} AND ${bound}` : bound;
};

const isPage = (text) => occurrences(text, '"trace_id"') === FOUND;

export default function () {
  const request = `${BEGIN}${JSON.stringify(filter())}}`;
  measured(http.post(`${API3}/traces/search`, request, JSON_BODY), isPage);
}
