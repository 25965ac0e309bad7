"""Real worlds for development and tests: ZFS hosts in emulated machines, and a Kubernetes API."""
