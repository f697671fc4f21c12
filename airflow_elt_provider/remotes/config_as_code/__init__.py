"""Configuration of remote engines as files: export, diff, plan, apply, restore, and schemas held against a lock."""
