<?php
// A PHP script as a hop; UPSTREAM is the origin's port, in the request's or the process's environment.
// KIND: buffered; flush (each piece); snippet: the code in SNIPPET, once.
function given($name) { return $_SERVER[$name] ?? getenv($name); }

header("Content-Type: text/event-stream");
header("Cache-Control: no-cache");
if (given("KIND") === "flush") while (ob_get_level() > 0) ob_end_flush();
if (given("KIND") === "snippet") eval(given("SNIPPET"));
$asked = ["protocol_version" => "1.0", "header" => "X-Cell: " . $_SERVER["HTTP_X_CELL"] . "\r\nAccept: text/event-stream"];
$context = stream_context_create(["http" => $asked]);
$in = fopen("http://127.0.0.1:" . given("UPSTREAM") . $_SERVER["REQUEST_URI"], "rb", false, $context);
while (!feof($in)) {
    echo fread($in, 8192);
    if (given("KIND") === "flush") flush();
}
