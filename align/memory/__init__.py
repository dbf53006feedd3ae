"""How much memory a stage's trials need: pure arithmetic over sizes, no torch."""
