"""Which chaos tests there is time for: what each costs, in what order, on this machine."""
