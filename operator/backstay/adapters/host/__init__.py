"""ZFS hosts over OpenSSH, speaking the host program's protocol."""
