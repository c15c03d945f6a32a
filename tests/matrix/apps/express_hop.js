// An Express application as a hop: node express_hop.js PORT UPSTREAM default|flush|filter|no-transform
const http = require("node:http");
const { createRequire } = require("node:module");
const needs = createRequire(process.env.EXPRESS_FOLDER + "/");
const express = needs("express");
const compression = needs("compression");

const [port, upstream, kind] = process.argv.slice(2);
const filter = (req, res) =>
  !String(res.getHeader("Content-Type")).startsWith("text/event-stream") && compression.filter(req, res);

const app = express();
app.use(compression(kind === "filter" ? { filter } : {}));
app.use((req, res) => {
  const options = { port: Number(upstream), path: req.url, headers: { "x-cell": req.get("x-cell"), host: "localhost" } };
  http.get(options, (answer) => {
    res.status(answer.statusCode).set("Content-Type", answer.headers["content-type"]);
    res.set("Cache-Control", kind === "no-transform" ? "no-cache, no-transform" : "no-cache");
    res.flushHeaders();
    answer.on("data", (data) => {
      res.write(data);
      if (kind === "flush") res.flush();
    });
    answer.on("end", () => res.end());
  });
});
app.listen(Number(port), "127.0.0.1");
