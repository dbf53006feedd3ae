"""Adapters that other tools have made, read as plain LoRA factors. Loads no pickle."""

from align.adapters.foreign.locate import AdapterFiles, locate
from align.adapters.foreign.read import ForeignAdapter, read_foreign

__all__ = ["AdapterFiles", "ForeignAdapter", "locate", "read_foreign"]
