"""Files of a bucket or a folder as a source."""
