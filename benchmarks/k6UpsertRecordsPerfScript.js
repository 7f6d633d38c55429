// upsert records: 1,000 records of an evaluation dataset, each user with a dataset of its own.
// Each request has new inputs; -e AGAIN=1 repeats the inputs with other outputs, so that all but the
// first of a user are updates. Sizes: -e RECORDS=1000.
import exec from "k6/execution";
import http from "k6/http";
import { API3, JSON_BODY, measured, prepared, size, users } from "./k6/measure.js";
import { createExperiment } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

const RECORDS = size("RECORDS", 1000);
const AGAIN = size("AGAIN", 0);
const MARK = "@";
const PROMPT = "Which of these documents answers the question of the user, and why? ";
const record = (i) => ({
  inputs: {
    question: `${PROMPT}${AGAIN ? "" : MARK} ${i}`, temperature: 0.5, history: ["hello", "how are you?"],
  },
  outputs: { answer: `The document number ${i}, because its title names the subject. ${AGAIN ? MARK : ""}` },
  expectations: { expected_response: `document ${i}`, score: i },
  tags: { split: "test" },
});
// The text of the body, at each mark of which a request inserts its own: JSON.stringify of 1,000 records
// would cost the load generator more than the server.
const TEXT = JSON.stringify(Array.from({ length: RECORDS }, (_, i) => record(i)));
const TEMPLATE = JSON.stringify({ records: TEXT }).split(MARK);

export function setup() {
  const experiment_ids = [createExperiment()];
  const datasets = Array.from({ length: users() }, (_, n) => {
    const body = JSON.stringify({ name: `records of user ${n}`, experiment_ids });
    return prepared(http.post(`${API3}/datasets/create`, body, JSON_BODY)).dataset.dataset_id;
  });
  return { datasets };
}

export default function (data) {
  const step = exec.vu.iterationInScenario;
  const dataset = data.datasets[exec.vu.idInTest - 1];
  const body = TEMPLATE.join(`step ${step}`);
  const counted = AGAIN && step > 0 ? "updated_count" : "inserted_count";
  const isCount = (text) => JSON.parse(text)[counted] === RECORDS;
  measured(http.post(`${API3}/datasets/${dataset}/records`, body, JSON_BODY), isCount);
}
