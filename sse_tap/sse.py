"""The parser of Server-Sent Events, for everybody: `SSEParser` and the blocks it gives.

parser = SSEParser()
for block in parser.feed(data):    # Event, Comment or Retry, each with `.end`
    ...
tail = parser.close()              # what no blank line ended: never an event
"""

from sse_tap.blocks.sse import Block, Comment, Event, Retry, SSEParser

__all__ = ["Block", "Comment", "Event", "Retry", "SSEParser"]
