"""Posting to endpoints that strangers named."""
