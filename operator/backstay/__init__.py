"""Disaster recovery of ZFS datasets and Proxmox guests, declared in Kubernetes."""
