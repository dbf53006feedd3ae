"""Requests to an engine: they are batched, streamed back and cancelled here."""
