// get run: one of many runs with 10 metrics, 10 params and a few tags.
// Run by hand, it first creates RUNS=100 runs; the runner seeds them (SEEDED, SEEDED_COUNT).
import http from "k6/http";
import { API, NO_BODY, measured, occurrences, size } from "./k6/measure.js";
import { seededRun } from "./k6/runs.js";
import { seedRuns } from "./k6/seeds.js";
export { handleSummary, options } from "./k6/measure.js";

const ITEMS = 22;

export function setup() {
  if (__ENV.SEEDED) return { set: __ENV.SEEDED, count: size("SEEDED_COUNT", 1) };
  const { run_ids } = seedRuns(size("RUNS", 100));
  return { ids: run_ids, count: run_ids.length };
}

export default function (data) {
  const at = Math.floor(Math.random() * data.count);
  const runId = data.ids ? data.ids[at] : seededRun(data.set, at);
  const isRun = (text) => text.includes(`"${runId}"`) && occurrences(text, '"key"') >= ITEMS;
  measured(http.get(`${API}/runs/get?run_id=${runId}`, NO_BODY), isRun);
}
