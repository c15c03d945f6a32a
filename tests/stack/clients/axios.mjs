// axios with responseType "stream" and eventsource-parser: node axios.mjs URL -> as fetch.mjs.
import axios from "axios";
import { createParser } from "eventsource-parser";

const begin = performance.now();
const events = [];
let error = null;
try {
  const answer = await axios.post(process.argv[2], { stream: true }, { responseType: "stream", proxy: false });
  const parser = createParser({ onEvent: (event) => events.push([performance.now() - begin, event.data]) });
  const decoder = new TextDecoder();
  for await (const data of answer.data) parser.feed(decoder.decode(data, { stream: true }));
} catch (caught) {
  error = caught.code ?? caught.name;
}
console.log(JSON.stringify([events, error]));
