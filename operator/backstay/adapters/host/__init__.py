"""ZFS hosts over OpenSSH, speaking the host program's protocol.

Everything here starts `ssh` with `asyncio.create_subprocess_exec`, not with `sh`: in the operator,
a process of a hundred megabytes with many threads, `sh` forks the whole address space (25 ms and
more a start, loop stalls of a second at 32 at a time) and starts three threads a command, while
the standard library uses vfork (0.8 ms, flat). At the hosts, where a process is small and starts
little, the host program wraps `zfs` with `sh`.
"""
