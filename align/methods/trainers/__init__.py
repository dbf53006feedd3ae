"""Parts of the trainers that several methods share; they import torch and TRL."""
