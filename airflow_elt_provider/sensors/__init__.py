"""What waits for something that others do."""
