// create run, in a single experiment.
import http from "k6/http";
import { API, JSON_BODY, measured } from "./k6/measure.js";
import { createExperiment, newRun } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

export function setup() {
  return { experiment_id: createExperiment() };
}

const isRun = (text) => /"run_id": ?"[0-9a-f]{32}"/.test(text) && text.includes('"RUNNING"');

export default function (data) {
  measured(http.post(`${API}/runs/create`, newRun(data.experiment_id), JSON_BODY), isRun);
}
