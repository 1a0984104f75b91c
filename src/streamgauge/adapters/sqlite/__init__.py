"""The event log and its progress in SQLite files: recovery that others have trusted for decades."""
