// fetch() and eventsource-parser, as the reference stack's extension has them:
// node fetch.mjs URL -> [[ms, data], ...] of every event, then the error's name or null.
import { createParser } from "eventsource-parser";

const begin = performance.now();
const events = [];
let error = null;
try {
  const answer = await fetch(process.argv[2], { method: "POST", body: '{"stream":true}' });
  const parser = createParser({ onEvent: (event) => events.push([performance.now() - begin, event.data]) });
  for await (const text of answer.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
} catch (caught) {
  error = caught.cause?.code ?? caught.name;
}
console.log(JSON.stringify([events, error]));
