// log-batch to one run shared by all users: many workers of one training, the published case.
// Sizes: -e METRICS=10 -e PARAMS=0 -e TAGS=0
import exec from "k6/execution";
import { batchTemplate, body, logBatch, sizes } from "./k6/batches.js";
import { createExperiment, createRuns } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

const shape = batchTemplate(sizes({ metrics: 10 }));

export function setup() {
  const experiment_id = createExperiment();
  return { experiment_id, run_ids: createRuns(experiment_id, 1) };
}

export default function (data) {
  logBatch(body(shape, data.run_ids[0], exec.vu.idInTest, exec.vu.iterationInScenario));
}
