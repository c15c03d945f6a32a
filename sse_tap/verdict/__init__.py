"""What a hop did to a stream, why, and what to change."""
