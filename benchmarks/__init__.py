"""How fast, how heavy, how exact: measured against the installed server, over HTTP alone."""
