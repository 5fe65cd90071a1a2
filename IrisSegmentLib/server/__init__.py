"""`irissegment serve`: the worker for people at other computers. Imported by the command line and by nothing else."""
