"""Programs that run in a process of their own and print one JSON object: seconds, peak memory, details."""
