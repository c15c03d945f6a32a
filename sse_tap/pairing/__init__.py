"""What belongs together: clocks, which traces are one stream, which blocks of two bodies are the same."""
