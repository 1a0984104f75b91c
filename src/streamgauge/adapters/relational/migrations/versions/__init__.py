"""The revisions of the control plane's schema."""
