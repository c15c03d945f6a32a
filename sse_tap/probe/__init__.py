"""A client with a stopwatch: it asks, its figures, and two answers beside each other."""
