"""Replacements of functions of torch and TRL, a module for each patch."""
