"""What the service does: ingest, apply, query. It knows the world only through `ports/`."""
