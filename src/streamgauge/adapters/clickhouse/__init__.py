"""The usage store on the ClickHouse engine: in this process (chDB) by default, or a server."""
