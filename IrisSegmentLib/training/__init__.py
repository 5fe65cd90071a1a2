"""Train the network: episodes from real scans, synthetic tasks, augmentation, and a loop that can be resumed."""
