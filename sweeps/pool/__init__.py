"""The pool of workers: Ray Tune on the driver, and the code that a worker runs."""
