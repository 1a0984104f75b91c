"""Version 2 of the API: JSON bodies, RFC 3339 times."""
