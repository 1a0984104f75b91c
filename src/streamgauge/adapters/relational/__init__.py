"""The control plane in a relational database: SQLite embedded, PostgreSQL beyond one machine."""
