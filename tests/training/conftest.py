"""Scripts that torch.distributed.run starts, with their own folder on the path, are no modules to look for examples in."""

collect_ignore_glob = ["*_script.py"]
