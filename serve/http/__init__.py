"""The OpenAI-compatible HTTP interface. Imports neither torch nor Ray."""
