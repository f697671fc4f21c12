"""Object stores and folders where files wait between extract and merge."""
