// Runs to read: the same rows as benchmarks/seeds.py writes with SQL, but through the API.
import { prepareBatch } from "./batches.js";
import { createExperiment, createRuns } from "./runs.js";

const METRICS = 10;
const PARAMS = 10;
const PRIME = 10007;

function run(i, runs) {
  const metrics = { loss: ((i * 7919) % PRIME) / PRIME, accuracy: ((i * 104729) % PRIME) / PRIME };
  for (let k = 2; k < METRICS; k++) metrics[`metric_${k}`] = i / (k + 1);
  const params = { optimizer: i % 2 ? "sgd" : "adam", group: `g${i % Math.max(1, Math.floor(runs / 100))}` };
  for (let k = 2; k < PARAMS; k++) params[`param_${k}`] = `value ${i % 17} of param ${k}`;
  const tags = { team: `team ${i % 7}`, stage: "seeded" };
  return { metrics, params, tags };
}

export function seedRuns(runs) {
  const experimentId = createExperiment();
  const ids = createRuns(experimentId, runs);
  const pairs = (object) => Object.entries(object).map(([key, value]) => ({ key, value }));
  ids.forEach((run_id, i) => {
    const { metrics, params, tags } = run(i, runs);
    const points = pairs(metrics).map((m) => ({ ...m, timestamp: 1700000000000 + i, step: i % 100 }));
    prepareBatch(JSON.stringify({ run_id, metrics: points, params: pairs(params), tags: pairs(tags) }));
  });
  return { experiment_id: experimentId, run_ids: ids };
}

const BATCH = 1000;

export function seedHistory(points) {
  const experimentId = createExperiment();
  const [run_id] = createRuns(experimentId, 1);
  for (let first = 0; first < points; first += BATCH) {
    const metrics = Array.from({ length: Math.min(BATCH, points - first) }, (_, i) => ({
      key: "loss", value: 1 / (first + i + 1), timestamp: 1700000000000 + first + i, step: first + i,
    }));
    prepareBatch(JSON.stringify({ run_id, metrics }));
  }
  return run_id;
}
