// log-batch with tags, params and metrics. Sizes: -e TAGS=50 -e PARAMS=50 -e METRICS=300
import { poolScript } from "./k6/pool.js";
export { handleSummary, options } from "./k6/measure.js";

const script = poolScript({ tags: 50, params: 50, metrics: 300 });

export const setup = () => script.setup();

export default (data) => script.iteration(data);
