// An Express application as a hop: node express_hop.js PORT UPSTREAM KIND
//   default, flush, no-transform: with the compression middleware; late: without it, headers with the first write
//   middleware, headers: as default and late, with the code in SNIPPET in place of its own
const http = require("node:http");
const { createRequire } = require("node:module");
const needs = createRequire(process.env.EXPRESS_FOLDER + "/");
const express = needs("express");
const compression = needs("compression");

const [port, upstream, kind] = process.argv.slice(2);
const snippet = process.env.SNIPPET;
const app = express();
if (kind === "middleware") eval(snippet);
else if (!["late", "headers"].includes(kind)) app.use(compression());

app.use((req, res) => {
  const headers = { "x-cell": req.get("x-cell"), host: "localhost" };
  http.get({ port: Number(upstream), path: req.url, headers }, (answer) => {
    if (kind === "headers") eval(snippet);
    else {
      res.status(answer.statusCode).set("Content-Type", answer.headers["content-type"]);
      res.set("Cache-Control", kind === "no-transform" ? "no-cache, no-transform" : "no-cache");
      if (kind !== "late") res.flushHeaders();
    }
    answer.on("data", (data) => {
      res.write(data);
      if (kind === "flush") res.flush();
    });
    answer.on("end", () => res.end());
  });
});
app.listen(Number(port), "127.0.0.1");
