"""The check of hand-derived gradients."""
