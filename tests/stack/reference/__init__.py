"""The reference stack: clients, Caddy, an orchestrator of FastAPI and LangGraph, a provider of models, taps.

Real in every part that can run on one machine. What can go wrong in it is switched on by name, and
`make stack` shows what sse-tap says of each.
"""
