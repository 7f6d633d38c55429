// search registered models, model versions or logged models: a page of 100. All requests differ.
// KIND=registered-models, model-versions or logged-models; run by hand, it first creates 100 models
// with a version each (logged models: 100 in a new experiment); the runner seeds 1,000.
import exec from "k6/execution";
import http from "k6/http";
import { API, JSON_BODY, NO_BODY, measured, occurrences, prepared, size } from "./k6/measure.js";
import { createExperiment } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

const EXPECTED = size("MAX_RESULTS", 100);
const KIND = __ENV.KIND || "registered-models";
const IS_LOGGED = KIND === "logged-models";
// The field that every item of a page has once.
const ITEM = IS_LOGGED ? '"model_id"' : KIND === "model-versions" ? '"version"' : '"model-';

function post(path, fields) {
  return prepared(http.post(`${API}/${path}`, JSON.stringify(fields), JSON_BODY));
}

export function setup() {
  if (__ENV.EXPERIMENT_ID) return { experiment_id: __ENV.EXPERIMENT_ID };
  const found = http.get(`${API}/registered-models/search?max_results=1`, NO_BODY);
  if (!IS_LOGGED && found.status === 200 && found.json().registered_models) return {};
  const experiment_id = IS_LOGGED ? createExperiment() : "";
  for (let i = 0; i < EXPECTED; i++) {
    if (IS_LOGGED) {
      post("logged-models", { experiment_id, name: `net-${i}` });
    } else {
      post("registered-models/create", { name: `model-${i}` });
      post("model-versions/create", { name: `model-${i}`, source: "s3://bucket/model" });
    }
  }
  return { experiment_id };
}

const isPage = (text) => occurrences(text, ITEM) >= EXPECTED;

export default function (data) {
  const filter = `name != 'other-${exec.scenario.iterationInTest}'`;
  if (IS_LOGGED) {
    const request = { experiment_ids: [data.experiment_id], filter, max_results: EXPECTED };
    measured(http.post(`${API}/logged-models/search`, JSON.stringify(request), JSON_BODY), isPage);
  } else {
    const query = `max_results=${EXPECTED}&filter=${encodeURIComponent(filter)}`;
    measured(http.get(`${API}/${KIND}/search?${query}`, NO_BODY), isPage);
  }
}
