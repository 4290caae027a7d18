"""Compiled bindings."""
