"""What may come from outside as bytes, and what must hold of whatever becomes of them."""
