"""What tells people how a task or a DAG ended."""
