// fetch() that an AbortController ends after so many ms, as the extension's stop button does:
// node abort.mjs URL MS -> as fetch.mjs.
import { createParser } from "eventsource-parser";

const begin = performance.now();
const events = [];
let error = null;
const controller = new AbortController();
setTimeout(() => controller.abort(), Number(process.argv[3]));
try {
  const answer = await fetch(process.argv[2], {
    method: "POST",
    body: '{"stream":true,"model":"slow"}',
    signal: controller.signal,
  });
  const parser = createParser({ onEvent: (event) => events.push([performance.now() - begin, event.data]) });
  for await (const text of answer.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
} catch (caught) {
  error = caught.cause?.code ?? caught.name;
}
console.log(JSON.stringify([events, error]));
