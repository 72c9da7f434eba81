"""The observed host itself: load, memory, mounts, network, from /proc and /sys and by statvfs."""
