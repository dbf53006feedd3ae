"""What Alignery needs of Ray beyond its public interfaces, a module for each of its libraries.

Every module names the private names that it uses, why no public interface does the same, and the
public request that would make it unnecessary. The tests in tests/cluster/compat fail if an update
of Ray changes what they depend on.
"""

#: The version of Ray that the modules were written for.
RAY = "2.60"
