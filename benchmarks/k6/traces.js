// Requests with spans: an ExportTraceServiceRequest in protobuf, encoded once. Each request gets ids
// of its own, which are written into the bytes of the template.
import { size } from "./measure.js";

export const BASE = __ENV.MLFLOW_TRACKING_URI.replace(/\/+$/, "");
const START_NS = 1760000000000000000n;
const TEXT = "What is the capital of France, and why? ";

const bytesOf = (text) => Array.from(text, (letter) => letter.charCodeAt(0));

function varint(number) {
  const out = [];
  while (number > 127) {
    out.push((number & 127) | 128);
    number >>>= 7;
  }
  out.push(number);
  return out;
}

const field = (number, bytes) => [(number << 3) | 2, ...varint(bytes.length), ...bytes];

function fixed64(number, value) {
  const out = [(number << 3) | 1];
  for (let n = 0; n < 8; n++) out.push(Number((value >> BigInt(8 * n)) & 255n));
  return out;
}

const attribute = (key, text) =>
  field(9, [...field(1, bytesOf(key)), ...field(2, field(1, bytesOf(text)))]);

function span(number) {
  const id = [0, 0, 0, 0, 0, 0, 0, number + 1];
  const start = START_NS + BigInt(number) * 1000000n;
  return field(2, [
    ...field(1, new Array(16).fill(0)), // the id of the trace: the first bytes of a span
    ...field(2, id),
    ...(number ? field(4, [0, 0, 0, 0, 0, 0, 0, 1]) : []),
    ...field(5, bytesOf(`step ${number}`)),
    ...fixed64(7, start),
    ...fixed64(8, start + 5000000n),
    ...attribute("mlflow.spanType", number ? "LLM" : "CHAIN"),
    ...attribute("mlflow.spanFunctionName", "predict"),
    ...attribute("mlflow.spanInputs", `{"question": "${TEXT.repeat(3)}"}`),
    ...attribute("mlflow.spanOutputs", TEXT.repeat(4)),
    ...field(15, [24, 1]),
  ]);
}

// One ResourceSpans message with the spans of one trace, and the places of the trace's ids.
function template(count) {
  const scope = [];
  for (let number = 0; number < count; number++) scope.push(...span(number));
  const bytes = Uint8Array.from(field(1, field(2, scope)));
  const places = [];
  for (let at = 0; at < bytes.length - 18; at++) {
    if (bytes[at] === 10 && bytes[at + 1] === 16 && bytes.subarray(at + 2, at + 18).every((b) => b === 0)) {
      places.push(at + 2);
    }
  }
  if (places.length !== count) throw new Error(`${places.length} places of ids in ${count} spans`);
  return { bytes, places };
}

const TEMPLATE = template(size("SPANS", 10));
const PROCESS = Math.floor(Math.random() * 2 ** 31);

// The bytes of a user's requests. Only the words of the ids that change are written again.
const bodies = {};

function bodyOf(traces, user) {
  const { bytes, places } = TEMPLATE;
  const body = new Uint8Array(bytes.length * traces);
  const view = new DataView(body.buffer);
  const steps = [];
  for (let trace = 0; trace < traces; trace++) {
    const start = trace * bytes.length;
    body.set(bytes, start);
    for (const place of places) {
      [PROCESS, user, 0, trace + 1].forEach((word, n) => view.setUint32(start + place + 4 * n, word));
      steps.push(start + place + 8);
    }
  }
  return { buffer: body.buffer, view, steps };
}

export function spans(traces, user, step) {
  const { buffer, view, steps } = (bodies[user] = bodies[user] || bodyOf(traces, user));
  for (const place of steps) view.setUint32(place, step);
  return buffer;
}

const hexadecimal = (word) => word.toString(16).padStart(8, "0");

export const traceId = (trace, user, step) =>
  `tr-${[PROCESS, user, step, trace + 1].map(hexadecimal).join("")}`;

function informationOf(experimentId) {
  const trace_info = {
    trace_id: "ID",
    trace_location: { type: "MLFLOW_EXPERIMENT", mlflow_experiment: { experiment_id: experimentId } },
    request_time: "2025-10-09T08:53:20.000Z",
    execution_duration: "0.014s",
    state: "OK",
    request_preview: TEXT,
    response_preview: TEXT,
    trace_metadata: {
      "mlflow.trace_schema.version": "3",
      "mlflow.user": "k6",
      "mlflow.source.name": "train.py",
      "mlflow.source.type": "LOCAL",
      "mlflow.traceInputs": TEXT.repeat(5),
      "mlflow.traceOutputs": TEXT.repeat(5),
      "mlflow.trace.sizeStats": '{"total_size_bytes": 9000, "num_spans": 10}',
      "mlflow.trace.sizeBytes": "9000",
    },
    tags: { "mlflow.traceName": "predict" },
  };
  return JSON.stringify({ trace: { trace_info } });
}

let text = "";

export function information(traceId, experimentId) {
  text = text || informationOf(experimentId);
  return text.replace("ID", traceId);
}
