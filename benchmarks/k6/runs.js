// Experiments and runs that the scripts write to: created in setup, or seeded by the runner.
import http from "k6/http";
import { API, JSON_BODY, prepared, size } from "./measure.js";

const BATCH = 20;

export function createExperiment(options = JSON_BODY) {
  const name = __ENV.EXPERIMENT_NAME || `k6-${Date.now()}-${Math.floor(Math.random() * 1e9)}`;
  const made = prepared(http.post(`${API}/experiments/create`, JSON.stringify({ name }), options));
  return made.experiment_id;
}

export function newRun(experimentId) {
  return JSON.stringify({
    experiment_id: experimentId,
    start_time: Date.now(),
    tags: [{ key: "mlflow.user", value: "k6" }],
  });
}

export function createRuns(experimentId, count, options = JSON_BODY) {
  const ids = [];
  while (ids.length < count) {
    const requests = Array.from({ length: Math.min(BATCH, count - ids.length) }, () => [
      "POST", `${API}/runs/create`, newRun(experimentId), options,
    ]);
    for (const response of http.batch(requests)) ids.push(prepared(response).run.info.run_id);
  }
  return ids;
}

// Ids of seeded runs: two hex digits identify the set, thirty number the runs.
export function seededRun(set, index) {
  return set + index.toString(16).padStart(30, "0");
}

// Many empty runs, so that each run gets a realistic number of params.
// Seeded (POOL, POOL_FIRST, POOL_COUNT) or created here.
export function runPool(users) {
  if (__ENV.POOL) {
    return { set: __ENV.POOL, first: size("POOL_FIRST", 0), count: size("POOL_COUNT", 1) };
  }
  const ids = createRuns(createExperiment(), size("RUNS", 20 * users));
  return { ids, count: ids.length };
}

export function poolRun(pool, index) {
  const at = index % pool.count;
  return pool.ids ? pool.ids[at] : seededRun(pool.set, pool.first + at);
}
