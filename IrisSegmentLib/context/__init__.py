"""What is kept of references: task embeddings in presets, a library of presets, a cache, and ways to use many."""
