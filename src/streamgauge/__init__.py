"""Streamgauge: an open, self-hosted meter event stream that speaks Stripe's public billing-meter API."""

__version__ = "0.1.0"
