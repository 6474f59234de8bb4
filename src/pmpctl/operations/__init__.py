"""The verbs: each takes a workspace, yields events and returns a frozen result."""
