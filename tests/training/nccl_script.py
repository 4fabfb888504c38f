"""Run by torch.distributed.run on one GPU: trains in each way, wrapped for distributed training and bare."""

import gc
import json
import sys

import ddp_ways
import torch.distributed as dist

if __name__ == "__main__":
    dist.init_process_group("nccl")
    found = {
        name: ddp_ways.train_in_each_way(0, 1, "cuda", wrapped)
        for name, wrapped in (("bare", False), ("wrapped", True))
    }
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
    # What still refers to the group must be gone before it is.
    gc.collect()
    dist.destroy_process_group()
