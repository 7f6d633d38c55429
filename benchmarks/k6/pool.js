// log-batch with params: a user continues with the next empty run when a run has a realistic number
// of params. Otherwise a server that reads all params of the run for each batch would become slower
// with every request, which does not happen in a training.
import exec from "k6/execution";
import { batchTemplate, body, logBatch, sizes } from "./batches.js";
import { users } from "./measure.js";
import { poolRun, runPool } from "./runs.js";

const PARAMS_PER_RUN = 200;

export function poolScript(defaults) {
  const asked = sizes(defaults);
  const shape = batchTemplate(asked);
  const batches = Math.max(1, Math.floor(PARAMS_PER_RUN / Math.max(1, asked.params)));
  return {
    setup: () => ({ users: users(), pool: runPool(users()) }),
    iteration: (data) => {
      const { idInTest: user, iterationInScenario: step } = exec.vu;
      const index = Math.floor(step / batches) * data.users + user - 1;
      logBatch(body(shape, poolRun(data.pool, index), user, step));
    },
  };
}
