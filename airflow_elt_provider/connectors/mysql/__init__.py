"""MySQL 5.7 and newer and MariaDB 10.4 and newer, as sources."""
