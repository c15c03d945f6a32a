"""`python -m sse_tap` is `sse-tap`."""

from __future__ import annotations

from sse_tap.cli import main

if __name__ == "__main__":
    main()
