"""The demo: a real LLM usage trace, streamed in with the official Stripe client and read back as summaries."""
