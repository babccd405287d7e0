"""What processes share on one machine: children, locks, sockets, devices and cores."""
