"""What HTTP costs: the endpoint beside its own engine, a stub that only streams, and peers."""
