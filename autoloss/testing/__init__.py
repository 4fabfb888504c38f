"""Conformance suites for plugin authors, and for autoloss itself."""
