"""Ports on plain Python objects: for tests, and for whoever wants to read a port's contract as code."""
