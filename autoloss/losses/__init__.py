"""One file for each loss; the file's name is the name that finds it."""
