"""The paper's tables and figures at our scale, each from real runs, each made again by one command."""
