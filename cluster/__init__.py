"""What all machines share: settings, Ray, storage, database, adapter registry."""
