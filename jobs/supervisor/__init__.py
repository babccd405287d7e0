"""Running jobs: the supervisor takes them out of the queue, and a trainer of a device of this machine trains them."""
