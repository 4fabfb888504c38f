"""The processes that train one run together: the first one leads, and the others do what it says."""
