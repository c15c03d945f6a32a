"""The reference stack in small, on this machine: origin, proxy, client; the tests use its parts too."""
