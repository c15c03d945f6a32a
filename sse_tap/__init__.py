"""sse-tap: a transparent streaming debug proxy for Server-Sent Events."""

__version__ = "0.1.0"
