"""Version 1 of the API: form-encoded parameters, Unix seconds, list objects."""
