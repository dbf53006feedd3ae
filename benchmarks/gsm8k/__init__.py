"""What SFT and a reward model learn from real data."""
