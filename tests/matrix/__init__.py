"""The labelled matrix: real proxies between two taps, each stream with what must be found in it."""
