"""What is counted, in each process, and how all of it becomes one page."""
