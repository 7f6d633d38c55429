// A trace of three spans for each exporter and compression of OpenTelemetry's JavaScript SDK.
// Arguments: URL of the server, experiment. Prints the ids of the traces as JSON.
import { SpanStatusCode } from "@opentelemetry/api";
import { OTLPTraceExporter as Json } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as Protobuf } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { ROOT_CONTEXT, trace } from "@opentelemetry/api";

const [url, experiment] = process.argv.slice(2);

async function send(Exporter, compression) {
  const exporter = new Exporter({
    url: `${url}/v1/traces`,
    headers: { "x-mlflow-experiment-id": experiment },
    compression,
  });
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ "service.name": "shop" }),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer("tests");
  const root = tracer.startSpan("order", {
    attributes: { items: [1, 2, 3], paid: true, price: 9.5, city: "Ürümqi" },
  });
  const inside = trace.setSpan(ROOT_CONTEXT, root);
  const search = tracer.startSpan("search", {}, inside);
  search.addEvent("found", { count: 2 });
  search.end();
  const pay = tracer.startSpan("pay", {}, inside);
  pay.setStatus({ code: SpanStatusCode.ERROR, message: "no money" });
  pay.end();
  root.end();
  await provider.forceFlush();
  await provider.shutdown();
  return root.spanContext().traceId;
}

const ids = [];
for (const Exporter of [Protobuf, Json]) {
  for (const compression of ["none", "gzip"]) {
    ids.push(await send(Exporter, compression));
  }
}
console.log(JSON.stringify(ids));
