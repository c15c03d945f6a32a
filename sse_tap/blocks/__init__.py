"""Bytes of a body to blocks: codings, Server-Sent Events, NDJSON; when each was there and what it says."""
