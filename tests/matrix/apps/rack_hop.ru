# A Rack application as a hop, for Puma, with X-Runtime as Rails sends it; UPSTREAM is the origin's port.
# KIND: plain; etag: with Rack::ETag; corked: Puma's TCP_CORK is left as it is.
# response, hijack: as etag and corked, with the code in SNIPPET for the response or its events.
require "net/http"
require "rack"

kind = ENV["KIND"]
uncork = 'env["puma.socket"].setsockopt(Socket::IPPROTO_TCP, Socket::TCP_CORK, 0)'
uncork = "" if ["corked", "hijack"].include?(kind)
sse = { "Content-Type" => "text/event-stream", "Cache-Control" => "no-cache" }

use Rack::Runtime
use Rack::ETag if ["etag", "response"].include?(kind)
run lambda { |env|
  asked = { "X-Cell" => env["HTTP_X_CELL"], "Accept" => "text/event-stream" }
  events = Enumerator.new do |out|
    Net::HTTP.start("127.0.0.1", ENV["UPSTREAM"].to_i) do |http|
      http.request_get(env["REQUEST_PATH"], asked) do |answer|
        answer.read_body do |piece|
          eval(uncork, binding)
          out << piece
        end
      end
    end
  end
  response = Rack::Response.new(events, 200, sse)
  eval(ENV["SNIPPET"], binding) if ["response", "hijack"].include?(kind)
  response.finish
}
