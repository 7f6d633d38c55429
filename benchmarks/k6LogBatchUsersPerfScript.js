// log-batch to a run per user, on a server with users: each of them logs in with a name and a password of
// their own (basic-auth) and writes to an experiment of their own. GUESSERS=4 of them send wrong passwords
// instead, as fast as they can; only the others are measured.
// Sizes: -e METRICS=10 -e PARAMS=0 -e TAGS=0
import exec from "k6/execution";
import http from "k6/http";
import { batchTemplate, body, logBatch, sizes } from "./k6/batches.js";
import { API, JSON_BODY, basic, prepared, requestOptions, size, users } from "./k6/measure.js";
import { createExperiment, createRuns } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

const shape = batchTemplate(sizes({ metrics: 10 }));
const GUESSERS = size("GUESSERS", 0);
const JSON_TYPE = { "Content-Type": "application/json" };
const password = (name) => `the password of ${name}`;

export function setup() {
  const writers = [];
  const start = Date.now();
  for (let n = 0; n < users() - GUESSERS; n++) {
    const username = `k6-${start}-${n}`;
    const user = JSON.stringify({ username, password: password(username) });
    prepared(http.post(`${API}/users/create`, user, JSON_BODY));
    const options = requestOptions(basic(username, password(username)), JSON_TYPE);
    writers.push({ options, run_id: createRuns(createExperiment(options), 1, options)[0] });
  }
  return { writers, run_ids: writers.map((writer) => writer.run_id) };
}

// The answer must be a refusal: 401, or 429 or 503 when there were too many.
function guess(user, step, runId) {
  const options = requestOptions(basic(`guessed-${user}-${step % 1000}`, `${Math.random()}`));
  const answer = http.get(`${API}/runs/get?run_id=${runId}`, options);
  if (answer.status < 400) throw new Error(`a wrong password was accepted: ${answer.status}`);
}

export default function (data) {
  const user = exec.vu.idInTest - 1;
  const step = exec.vu.iterationInScenario;
  if (user < GUESSERS) {
    guess(user, step, data.run_ids[0]);
    return;
  }
  const { options, run_id } = data.writers[(user - GUESSERS) % data.writers.length];
  logBatch(body(shape, run_id, user, step), undefined, options);
}
