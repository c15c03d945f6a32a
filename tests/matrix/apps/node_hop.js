// Node as a hop: node node_hop.js '[[PORT, UPSTREAM, KIND], ...]'
//   proxy [MS]: npm's http-proxy, with a proxyTimeout; pipe, pipeline: of Node's own streams
//   text: pieces through chunk.toString(); decoder: through a StringDecoder
//   fetch: Node's fetch(), which decodes, with every header copied; fetched: without Content-Encoding
//   raw: the coded bytes without their Content-Encoding
const http = require("node:http");
const { Readable, pipeline } = require("node:stream");
const { StringDecoder } = require("node:string_decoder");
const { createRequire } = require("node:module");
const httpProxy = createRequire(process.env.NPM_FOLDER + "/")("http-proxy");

function asked(req, upstream, then) {
  const headers = { ...req.headers, host: "localhost" };
  const up = http.get({ port: upstream, path: req.url, headers, agent: false }, then);
  up.on("error", () => {});
  return up;
}

function opened(answer, res, without) {
  const headers = { ...answer.headers };
  for (const name of ["transfer-encoding", "connection", "keep-alive", ...without]) delete headers[name];
  res.writeHead(answer.statusCode, headers);
  res.flushHeaders();
}

function copied(req, res, upstream, without, through, last = () => "") {
  const up = asked(req, upstream, (answer) => {
    opened(answer, res, without);
    answer.on("data", (data) => res.write(through(data)));
    answer.on("end", () => res.end(last()));
    answer.on("error", () => res.destroy());
  });
  res.on("close", () => up.destroy());
}

function decoded(req, res, upstream) {
  const decoder = new StringDecoder("utf8");
  copied(req, res, upstream, [], (data) => decoder.write(data), () => decoder.end());
}

async function fetched(req, res, upstream, without) {
  const headers = { "x-cell": req.headers["x-cell"], "accept-encoding": "gzip" };
  const answer = await fetch(`http://127.0.0.1:${upstream}${req.url}`, { headers });
  opened({ statusCode: answer.status, headers: Object.fromEntries(answer.headers) }, res, without);
  for await (const data of Readable.fromWeb(answer.body)) res.write(data);
  res.end();
}

const KINDS = {
  pipe: (req, res, up) => asked(req, up, (answer) => (opened(answer, res, []), answer.pipe(res))),
  pipeline: (req, res, up) => {
    const above = asked(req, up, (answer) => (opened(answer, res, []), pipeline(answer, res, () => {})));
    res.on("close", () => above.destroy());
  },
  text: (req, res, up) => copied(req, res, up, [], (data) => data.toString()),
  decoder: decoded,
  fetch: (req, res, up) => fetched(req, res, up, []),
  fetched: (req, res, up) => fetched(req, res, up, ["content-encoding"]),
  raw: (req, res, up) => copied(req, res, up, ["content-encoding"], (data) => data),
  whole: (req, res, up) => copied(req, res, up, [], (data) => data),
};

for (const [port, upstream, kind] of JSON.parse(process.argv[2])) {
  const [name, limit] = kind.split(" ");
  if (name === "proxy") {
    const options = { target: `http://127.0.0.1:${upstream}` };
    if (limit) options.proxyTimeout = Number(limit);
    const proxy = httpProxy.createProxyServer(options);
    proxy.on("error", () => {});
    http.createServer((req, res) => proxy.web(req, res)).listen(port, "127.0.0.1");
  } else http.createServer((req, res) => KINDS[name](req, res, upstream)).listen(port, "127.0.0.1");
}
