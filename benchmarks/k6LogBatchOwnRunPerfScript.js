// log-batch with rising steps to a separate run for each user: many trainings at once.
// Sizes: -e METRICS=10 -e PARAMS=0 -e TAGS=0
import exec from "k6/execution";
import { batchTemplate, body, logBatch, sizes } from "./k6/batches.js";
import { users } from "./k6/measure.js";
import { createExperiment, createRuns } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

const shape = batchTemplate(sizes({ metrics: 10 }));

export function setup() {
  const experiment_id = createExperiment();
  return { experiment_id, run_ids: createRuns(experiment_id, users()) };
}

export default function (data) {
  const user = exec.vu.idInTest;
  const runId = data.run_ids[(user - 1) % data.run_ids.length];
  logBatch(body(shape, runId, user, exec.vu.iterationInScenario));
}
