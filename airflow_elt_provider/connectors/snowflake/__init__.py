"""Snowflake: a warehouse in the cloud, loaded through a bucket or through a stage of its own."""
