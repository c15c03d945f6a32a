"""The stream as a picture: lanes, glyphs, the timeline in the terminal, SVG."""
