"""Lightning modules that train with several losses."""
