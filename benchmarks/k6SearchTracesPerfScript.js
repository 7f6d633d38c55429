// search traces: a page of 100 traces by filter, the newest first.
// The runner seeds the traces (EXPERIMENT_ID, FILTER, FOUND: how many are on the page).
import http from "k6/http";
import { API3, JSON_BODY, measured, occurrences, size } from "./k6/measure.js";
export { handleSummary, options } from "./k6/measure.js";

const FOUND = size("FOUND", 100);
const request = JSON.stringify({
  locations: [
    { type: "MLFLOW_EXPERIMENT", mlflow_experiment: { experiment_id: __ENV.EXPERIMENT_ID } },
  ],
  filter: __ENV.FILTER || "",
  max_results: 100,
});

const isPage = (text) => occurrences(text, '"trace_id"') === FOUND;

export default function () {
  measured(http.post(`${API3}/traces/search`, request, JSON_BODY), isPage);
}
