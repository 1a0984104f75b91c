"""What one would build instead, on the same machine, under the same load: three services and what they stand on."""
