"""The families of ops, one file each; the registry finds them by file name."""
