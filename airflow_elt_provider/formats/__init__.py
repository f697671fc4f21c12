"""File formats: pure functions over files and streams."""
