"""Results of a sweep: finalists, the comparison with the default, the final evaluation."""
