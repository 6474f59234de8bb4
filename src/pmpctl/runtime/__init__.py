"""Carries a plan out: Docker containers or detached processes behind one protocol."""
