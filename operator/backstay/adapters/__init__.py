"""The ports made real: hosts over OpenSSH, the Kubernetes API, the clock."""
