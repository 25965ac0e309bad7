"""The command lines of `zfs` and `zpool`: what to run, what came out, and what went wrong."""
