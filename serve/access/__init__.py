"""Who may ask an endpoint for what, and how much of it."""
