"""Requests on their way to one engine: gathered into batches, streamed back, cancelled."""
