// Times eventsource-parser: node eventsource.mjs BODY SIZES ROUNDS -> [best seconds, events]
import { readFileSync } from "node:fs";
import { createParser } from "eventsource-parser";

const [bodyPath, sizesPath, rounds] = process.argv.slice(2);
const body = readFileSync(bodyPath);
let at = 0;
const chunks = JSON.parse(readFileSync(sizesPath, "utf8")).map((size) => body.subarray(at, (at += size)));

let best = Infinity;
let events = 0;
for (let round = 0; round < Number(rounds); round++) {
  events = 0;
  const decoder = new TextDecoder();
  const parser = createParser({ onEvent: () => events++ });
  const start = process.hrtime.bigint();
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }));
  best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
}
console.log(JSON.stringify([best, events]));
