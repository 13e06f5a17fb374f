"""The brokers, one file each. A manager finds them by URL; nothing imports them."""
