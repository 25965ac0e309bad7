"""The program at the ZFS hosts: observes and changes datasets on request, fenced."""
