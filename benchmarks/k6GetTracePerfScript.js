// get trace: one of many traces with 10 spans, as a whole.
// The runner seeds the traces (TRACES, SPANS); run by hand, TRACES traces must exist.
import http from "k6/http";
import { API3, NO_BODY, measured, occurrences, size } from "./k6/measure.js";
export { handleSummary, options } from "./k6/measure.js";

const COUNT = size("TRACES", 1);
const SPANS = size("SPANS", 10);

export default function () {
  const at = Math.floor(Math.random() * COUNT);
  const id = `tr-${at.toString(16).padStart(30, "0")}`;
  const isTrace = (text) =>
    text.includes(`"${id}"`) && occurrences(text, '"span_id"') === SPANS;
  measured(http.get(`${API3}/traces/get?trace_id=${id}`, NO_BODY), isTrace);
}
