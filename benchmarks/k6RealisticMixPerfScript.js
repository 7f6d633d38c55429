// A realistic mix: two of three users train (log-batch of 10 metrics to separate runs, each after
// the previous acknowledgement) and one reads as the web page does: the table of runs, one run, its
// chart, then a pause (PAUSE_MS=100). Run it with 12 users: 8 trainers and 4 readers.
import exec from "k6/execution";
import http from "k6/http";
import { sleep } from "k6";
import { batchTemplate, body, logBatch, sizes } from "./k6/batches.js";
import { AJAX, JSON_BODY, NO_BODY, measured, occurrences, size, users } from "./k6/measure.js";
import { createExperiment, createRuns } from "./k6/runs.js";
import { seedRuns } from "./k6/seeds.js";
import { Counter } from "k6/metrics";
export { handleSummary, options } from "./k6/measure.js";

const shape = batchTemplate(sizes({ metrics: 10 }));
const PAUSE_S = size("PAUSE_MS", 100) / 1000;
const PAGE = 100;
const logged = new Counter("log_requests");

export function setup() {
  const experiment_id = createExperiment();
  const run_ids = createRuns(experiment_id, users());
  const table = __ENV.EXPERIMENT_ID || seedRuns(size("RUNS", 200)).experiment_id;
  return { experiment_id, run_ids, table };
}

const isPage = (text) => occurrences(text, '"run_uuid"') === PAGE;

function read(data, runId) {
  const search = JSON.stringify({
    experiment_ids: [data.table],
    order_by: ["attributes.start_time DESC"],
    max_results: PAGE,
  });
  measured(http.post(`${AJAX}/runs/search`, search, JSON_BODY), isPage, "read");
  const isRun = (text) => text.includes('"run_id"') && text.includes('"info"');
  measured(http.get(`${AJAX}/runs/get?run_id=${runId}`, NO_BODY), isRun, "read");
  const query = `run_ids=${runId}&metric_key=metric_0&max_results=320`;
  const isChart = (text) => text.trim().startsWith("{");
  measured(http.get(`${AJAX}/metrics/get-history-bulk-interval?${query}`, NO_BODY), isChart, "read");
  sleep(PAUSE_S);
}

export default function (data) {
  const user = exec.vu.idInTest;
  if (user % 3 === 0) {
    read(data, data.run_ids[Math.floor(Math.random() * data.run_ids.length)]);
  } else if (logBatch(body(shape, data.run_ids[user - 1], user, exec.vu.iterationInScenario), "log")) {
    logged.add(1);
  }
}
