"""The OpenAPI document of everything that is served, derived from the code that serves it, and a page that shows it."""
