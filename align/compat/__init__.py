"""What Alignery needs of torch and TRL beyond their public interfaces, a module for each purpose.

Modules that use private names say so, and name the public request that would make it unnecessary.
tests/align/test_compat.py fails if an update changes what they depend on.
"""

#: The versions that the modules were written for.
VERSIONS = {"torch": "2.13", "trl": "1.16"}
