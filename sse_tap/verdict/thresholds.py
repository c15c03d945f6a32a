"""The thresholds of the verdict, with the reason of each and, where one was made, the measurement behind it.

All in one place, so that what it takes to blame a hop can be read, doubted and changed as a whole. Times are
ns. The machines measured had two cores; the hops were Caddy, nginx, HAProxy, Envoy, Varnish, Apache,
Starlette, Express and others in their own processes beside the taps.
"""

from __future__ import annotations

from sse_tap.trace.records import MS

SECOND = 1_000 * MS

# --- what counts as held, and as together -------------------------------------------------------------------

# The least hold that counts, and the least distance at which two blocks belong apart. A hop on a calm machine
# passes a block on within 2 ms; the shortest timers of kernels (a delayed ACK) hold for 40 ms.
MIN_HOLD = 20 * MS
# Blocks this near to the first of them arrived together, if not in one read: one write of a hop reaches the
# tap in several reads where it is larger than a segment.
TOGETHER = 2 * MS
# A group that came so soon after its last block, that block let go: a buffer gives when there is more.
RELEASED = MS
# Two machines' clocks drift apart: crystals are within 50 parts in a million, and both may err.
DRIFT_PPM = 100
# With so many bytes waiting for the client a tap has stopped reading from the hop until they are taken.
FULL = 1 << 20
# What a body of small pieces may grow to on the wire (a chunk's head and end), and what its head may have:
# more than this queued than the stream has brought is left from before.
FRAMED, HEAD = 2, 1 << 10
# A hop that writes its own stream works on the text (it joins tokens, it runs tools): its limit is wider.
TEXT_WIDER = 3

# --- what it takes to blame a hop ---------------------------------------------------------------------------

# A calm machine: neither tap ever ran late, and STEADY of what was not held passed within EVEN. There the
# rule is taken by its letter: enough is what is over the limit TIMES times or in MOST blocks, and a single
# group that its last block let go. A stall of the hop's own process looks like a buffer, but seldom comes
# alone. Measured: of 2,266 streams with both cores busy or worse one in fourteen was held for a moment, none
# without a lag; next to a test suite that took the machine by fits and starts 3 of 39 streams without a lag
# were, once each, for up to 109 ms.
STEADY, EVEN = 0.9, 2 * MS
# Elsewhere a machine that is busy for a moment wakes any process 20 to 100 ms late and merges two blocks:
# that is one stall and no buffer. A buffer holds long (LONG times the limit: 200 ms), or again and again
# (TIMES episodes, SHARE of the blocks, together LONG times the limit), or it holds most of a short stream
# well over the limit (MOST of the blocks, WELL times the limit).
LONG, WELL = 10, 3
TIMES, SHARE, MOST = 3, 0.10, 0.5
# ... and in each case more than the taps themselves ran late: lag shows how late this machine wakes them.
# The second is for what happened once or twice.
OVER_LAG, FAR_OVER_LAG = 2, 5
# Where the taps ran late for this share of the stream's time, processors were short, and a hop on this
# machine was woken late too, again and again: then only MOST of the blocks, or a stall that no scheduler
# causes (STALL times the limit: 1 s), is proof. Measured with four programs too many for two cores: a third
# of a hop's blocks held, for up to 350 ms.
BUSY, STALL = 0.03, 50

# --- the shape of what was held -----------------------------------------------------------------------------

WHOLE = 0.9  # of the blocks came after the last one had left: nothing until the end
ALIKE = 0.7  # of the bursts must fit a size or a period: the first and the last are often odd
NEAR = 0.12  # how near a gap must be to a multiple of the period, in periods
FEW_COUNTED = 4  # groups that must have as many blocks each before that is called a count
COUNTED_ALIKE = 0.9  # of them
SIZE_UNIT = 256  # bytes: buffers are multiples of it
KERNEL_TIMERS = ((36, 48), (192, 220))  # ms: Linux's delayed ACK (40 ms), a corked write (200 ms)
SHORTEST = 50 * MS  # period of a clock that may have struck for nothing
SIZES = 4  # of the most common sizes of bursts are looked at

# A hop that looks ahead hands a block on when the next, or the N-th next, comes.
MOST_AHEAD = 8
FEW_AHEAD = 3  # blocks, at least, or any two times fit
# It comes within this of that moment: before it only by what stamps err (a tap's own stamps are made one
# after the other), after it by what a busy machine takes. A share of odd ones is let pass.
AHEAD_EARLY, AHEAD_LATE = MS // 2, 15 * MS
AHEAD_ODD = 0.1
# ... and of the blocks this share was held by it at all.
AHEAD_HELD = 0.3

# --- many streams -------------------------------------------------------------------------------------------

# The same request again and again: so many times, each as long after the end of the one before as clients
# wait before they connect anew (fetch-event-source 1 s, EventSource 2 to 5 s), and about alike. A loop that
# asks without a pause is a test or a load.
AGAIN_TIMES = 3
AGAIN_LEAST, AGAIN_AT_MOST = SECOND // 5, 30 * SECOND
AGAIN_ALIKE = 3

# --- what is worth a word beside the verdict ---------------------------------------------------------------

HEADERS_HELD = 50 * MS  # headers that wait longer than this for the first block
END_HELD = SECOND  # an end that waits so long after the last byte
QUIET = 5 * SECOND  # a silence that long is one that keepalives are for
ABORT_LATE = SECOND  # an abort that takes this long lets the server work for nobody

MOST_SILENCES = 5  # of the longest are told
# A silence this many times the keepalive interval, without a comment in it, is no jitter.
LATE_KEEPALIVE = 1.5
STOPPED_KEEPALIVE = 3.0
# A comment that ends a silence this long and comes with an event was let go by that event.
PUSHED_AFTER = 5 * SECOND
PUSHED_WITHIN = 50 * MS  # of one turn of an event loop, on a machine that is busy with much else
# Data that stays away so long while comments come may be a model that stands still.
DATA_SILENCE = 30 * SECOND
# Bursts are worth a word when blocks that belong apart came together after a wait.
BURST_WAIT = 100 * MS
BURST_BLOCKS = 3
MANY_BLOCKS = 5
WHOLE_WAIT = 500 * MS
# bytes: a first compressed chunk of this size is a compressor that was not flushed (a live one's has 15).
GZIP_HEADER = 10

# --- how a stream ended -------------------------------------------------------------------------------------

# A cut is one of an idle limit where nothing came for so long, and so many times as long as any silence that
# the stream had outlived before. The shortest idle limits in use are seconds: Bun's 10 s, HAProxy's examples.
IDLE_SILENCE = SECOND
IDLE_OVER_GAPS = 1.2
# How much over its limit a timer strikes: Linux lengthens long sleeps by up to 0.5 %. Of long limits a second
# is let be: gunicorn looks once a second, Envoy tells the client up to a second after upstream.
ROUND_LATE = 0.02
LONG_LIMIT = 20 * SECOND
# Some look only when they write (Go's WriteTimeout): the stream is cut so soon after something came, and what
# came before that was no further back than this, or any round number would lie between.
AT_A_WRITE, BETWEEN_WRITES = 20 * MS, 300 * MS
# An end that the client is told so late, or never: over the second that Envoy's delayed close takes.
END_LATE = 2 * SECOND

# Streams that a hop cuts within this of each other were cut by one thing: a reload, a restart, a crash.
TOGETHER_CUT = SECOND

# --- what was lost ------------------------------------------------------------------------------------------

# bytes: readers that take a stream line by line have limits from here on (aiohttp's 512 KiB, Go's Scanner's
# 64 KiB, 8 KiB buffers of others).
LINE_LIMIT = 8 * 1024

# An application tells its model's text where so much of it came; else it tells another.
TEXT_KEPT = 0.6
# Words stick together where so many spaces between them are gone, and such a share of all: single ones are
# what an application trims.
JOINED_LEAST = 3
JOINED_SHARE = 0.1

# --- the request --------------------------------------------------------------------------------------------

# A request is kept back where it took so long from tap to tap: to reach an upstream on another continent
# with a new TLS connection takes three round trips, half a second.
REQUEST_HELD = 700 * MS
# ... and its body is so small that its upload does not explain it (bytes).
SMALL_BODY = 256 * 1024
# It was let go by another stream's end where that came so shortly before.
LET_GO = 100 * MS

# A watched process: this part of what it may use is as good as all of it; so much of one core is all of one;
# every process is kept from running now and then for less than this.
MEMORY_FULL = 0.9
BUSY_CORE = 0.9
THROTTLED = SECOND // 10
# So much of the time it was ready and had no processor: of a silence, or of all that it was watched for.
STARVED = 0.25
# Of a stream's time, for so much some program or other of the machine had no processor.
SHORT_OF_PROCESSORS = 0.2
