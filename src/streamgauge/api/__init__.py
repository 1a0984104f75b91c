"""The HTTP edge: bytes become typed values on the way in, answers and error envelopes on the way out."""
