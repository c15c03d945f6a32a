"""Facts to files while it runs: the recorder, its exchanges, the writer, alarms and verdict lines."""
