"""What a sweep leads to: finalists, the comparison with the default, the final evaluation."""
