// Node's own fetch asks the proxy, where this Node does not do so by itself (before 22.21 and 24).
"use strict";
const [major, minor] = process.versions.node.split(".").map(Number);
const KEY = Symbol.for("undici.globalDispatcher.1");
const given = process.env.HTTPS_PROXY;

if (given && major >= 18 && major < 24 && !(major === 22 && minor >= 21) && globalThis.fetch) {
  const http = require("node:http");
  const tls = require("node:tls");
  const proxy = new URL(given);

  // A tunnel to where fetch wants to go (RFC 9110, 9.3.6), with TLS inside of it where it wants that.
  const connect = (wanted, done) => {
    const host = wanted.hostname || wanted.host;
    const port = wanted.port || (wanted.protocol === "https:" ? 443 : 80);
    const target = `${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
    const asked = http.request({
      host: proxy.hostname, port: proxy.port, method: "CONNECT", path: target, headers: { host: target }, agent: false,
    });
    asked.once("error", done);
    asked.once("connect", (answer, socket) => {
      if (answer.statusCode !== 200) return done(new Error(`the proxy answers ${answer.statusCode} to CONNECT ${target}`));
      socket.setNoDelay(true);
      if (wanted.protocol !== "https:") return done(null, socket);
      const servername = wanted.servername || (/^[\d.]+$|:/.test(host) ? "" : host);
      const secured = tls.connect({ socket, servername, ALPNProtocols: ["http/1.1"] });
      secured.once("error", done);
      secured.once("secureConnect", () => done(null, secured));
    });
    asked.end();
  };

  fetch("data:,").catch(() => {}); // loads what fetch is made of
  const Agent = globalThis[KEY]?.constructor;
  if (Agent) globalThis[KEY] = new Agent({ connect });
}
