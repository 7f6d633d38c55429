// page lists: the lists that the views of MLflow's page request for an experiment of generative AI and
// for the gateway, in turn; the latency of each is a kind of its own. With one user.
import http from "k6/http";
import { API3, JSON_BODY, NO_BODY, measured, occurrences, prepared } from "./k6/measure.js";
import { createExperiment } from "./k6/runs.js";
export { handleSummary, options } from "./k6/measure.js";

const PAGE = 20;
const post = (path, body) => prepared(http.post(`${API3}/${path}`, JSON.stringify(body), JSON_BODY));
const numbers = Array.from({ length: PAGE }, (_, n) => n);

// Everything that the lists have, so that each has a page of 20.
export function setup() {
  const experiment_id = createExperiment();
  const mark = `${Date.now().toString(36)}-${Math.floor(Math.random() * 1e9)}`;
  const datasets = numbers.map((n) => {
    const body = { name: `dataset ${n}`, experiment_ids: [experiment_id], tags: '{"team": "search"}' };
    return post("datasets/create", body).dataset.dataset_id;
  });
  const records = numbers.map((n) => ({ inputs: { question: `why ${n}?` }, outputs: "because" }));
  post(`datasets/${datasets[0]}/records`, { records: JSON.stringify(records) });
  for (const n of numbers) {
    post("scorers/register", { experiment_id, name: `judge ${n}`, serialized_scorer: judge(n) });
    post("issues", { experiment_id, name: `issue ${n}`, description: "The answer is too long." });
  }
  const input = { pass_fail: { positive_label: "yes", negative_label: "no" } };
  for (const n of numbers) {
    post("label-schemas/create", { experiment_id, name: `question ${n}`, type: "FEEDBACK", input });
  }
  const queues = numbers.map((n) => {
    const body = { experiment_id, name: `queue ${n}`, queue_type: "CUSTOM", users: [`user ${n}`] };
    return post("review-queues/create", body).review_queue.queue_id;
  });
  const item_ids = numbers.map((n) => trace(experiment_id, n));
  post("review-queues/items/add", { queue_id: queues[0], item_ids, item_type: "TRACE" });
  gateway(mark);
  return { experiment_id, dataset_id: datasets[0], queue_id: queues[0] };
}

function trace(experiment_id, n) {
  const trace_id = `tr-${n.toString(16).padStart(8, "0")}${Math.random().toString(16).slice(2, 10)}`;
  const trace_location = { type: "MLFLOW_EXPERIMENT", mlflow_experiment: { experiment_id } };
  post("traces", { trace: { trace_info: { trace_id, trace_location, state: "OK" } } });
  return trace_id;
}

function judge(n) {
  return JSON.stringify({
    name: `judge ${n}`, aggregations: null, description: null, is_session_level_scorer: false,
    mlflow_version: "3.17.2", serialization_version: 1, builtin_scorer_class: "Safety",
    builtin_scorer_pydantic_data: { name: `judge ${n}`, required_columns: ["inputs", "outputs"] },
  });
}

function gateway(mark) {
  for (const n of numbers) {
    const name = `${mark}-${n}`;
    const secret = { secret_name: name, secret_value: { api_key: "a key" }, provider: "openai" };
    const { secret_id } = post("gateway/secrets/create", secret).secret;
    const model = { name, provider: "openai", model_name: "gpt-4o-mini", secret_id };
    const made = post("gateway/model-definitions/create", model).model_definition;
    const { model_definition_id } = made;
    const model_configs = [{ model_definition_id, linkage_type: "PRIMARY" }];
    post("gateway/endpoints/create", { name, model_configs });
  }
}

const get = (path) => http.get(`${API3}/${path}`, NO_BODY);
const search = (path, body) => http.post(`${API3}/${path}`, JSON.stringify(body), JSON_BODY);
// Each list, and what its answer has at least 20 of.
const LISTS = {
  datasets: [
    (d) => search("datasets/search", {
      experiment_ids: [d.experiment_id], max_results: 20, order_by: ["created_time DESC"],
    }),
    '"dataset_id"',
  ],
  records: [(d) => get(`datasets/${d.dataset_id}/records?max_results=20`), "dataset_record_id"],
  scorers: [(d) => get(`scorers/list?experiment_id=${d.experiment_id}`), '"scorer_id"'],
  issues: [
    (d) => search("issues/search", { experiment_id: d.experiment_id, include_trace_count: true }),
    '"issue_id"',
  ],
  label_schemas: [(d) => get(`label-schemas/list?experiment_id=${d.experiment_id}`), '"schema_id"'],
  review_queues: [(d) => get(`review-queues/list?experiment_id=${d.experiment_id}`), '"queue_id"'],
  items: [(d) => get(`review-queues/items/list?queue_id=${d.queue_id}`), '"item_id"'],
  endpoints: [() => get("gateway/endpoints/list"), '"endpoint_id"'],
  secrets: [() => get("gateway/secrets/list"), '"secret_id"'],
  model_definitions: [() => get("gateway/model-definitions/list"), '"model_definition_id"'],
};

export default function (data) {
  for (const [name, [ask, part]] of Object.entries(LISTS)) {
    measured(ask(data), (text) => occurrences(text, part) >= PAGE, name);
  }
}
