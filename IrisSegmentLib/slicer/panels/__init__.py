"""What the module's panel shows, one class a section. Importable before anything was installed: no torch, no MONAI."""
