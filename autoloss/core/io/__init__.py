"""Files that are read back: written atomically, locked, laid out as tables."""
