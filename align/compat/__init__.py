"""What can only be had by replacing functions of a library, a file for each library."""
