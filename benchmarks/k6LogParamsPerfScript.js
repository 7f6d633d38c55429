// log-batch of params only. Sizes: -e PARAMS=10 (or 100)
import { poolScript } from "./k6/pool.js";
export { handleSummary, options } from "./k6/measure.js";

const script = poolScript({ params: 10 });

export const setup = () => script.setup();

export default (data) => script.iteration(data);
