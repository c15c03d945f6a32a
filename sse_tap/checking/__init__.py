"""Expectations of recorded streams, judged one by one."""
