"""The vocabulary: values of ZFS, pairs and plans. Standard library only."""
