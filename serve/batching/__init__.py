"""Requests to one engine: they are batched, streamed back and cancelled here."""
