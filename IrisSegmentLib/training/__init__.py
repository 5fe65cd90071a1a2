"""Train the network: episodes from real scans and from tasks that no one drew, and a loop that can be resumed."""
