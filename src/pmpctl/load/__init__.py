"""Measures a running API under load: how it is asked, what came back and when, and what that amounts to."""
