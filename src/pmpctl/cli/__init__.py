"""Parses the command line, calls one operation, hands its result to the ui."""
