"""Checks against a running API."""
