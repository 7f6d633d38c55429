// trace metrics: the eleven queries of an experiment's overview, in one batch of the page.
// The runner seeds the traces (EXPERIMENT_ID, START_MS).
import http from "k6/http";
import { API3, JSON_BODY, measured, size } from "./k6/measure.js";
export { handleSummary, options } from "./k6/measure.js";

const START_MS = size("START_MS", 0);
const DAY_S = 86400;
const PERCENTILES = [50, 90, 99].map((value) => ({
  aggregation_type: "PERCENTILE", percentile_value: value,
}));
const of = (...kinds) => kinds.map((kind) => ({ aggregation_type: kind }));
const TOKENS = [
  "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
];
const MODELS = { dimensions: ["span_model_name"] };
const DAYS = { time_interval_seconds: DAY_S };

const query = (view_type, metric_name, aggregations, more) => [
  "POST",
  `${API3}/traces/metrics`,
  JSON.stringify(
    Object.assign(
      {
        experiment_ids: [__ENV.EXPERIMENT_ID], view_type, metric_name, aggregations,
        start_time_ms: START_MS, end_time_ms: START_MS + 7 * DAY_S * 1000,
      },
      more,
    ),
  ),
  JSON_BODY,
];

const OVERVIEW = [
  query("TRACES", "trace_count", of("COUNT"), { dimensions: ["trace_status"] }),
  query("TRACES", "latency", PERCENTILES, DAYS),
  query("TRACES", "latency", of("AVG")),
  ...TOKENS.map((name) => query("TRACES", name, of("SUM"), DAYS)),
  query("TRACES", "total_tokens", PERCENTILES, DAYS),
  query("TRACES", "total_tokens", of("SUM", "AVG")),
  query("SPANS", "total_cost", of("SUM"), MODELS),
  query("SPANS", "total_cost", of("SUM"), Object.assign({}, MODELS, DAYS)),
];

const isAnswer = (text) => text.startsWith("{");

export default function () {
  for (const response of http.batch(OVERVIEW)) measured(response, isAnswer);
}
