"""For `from flash_attn.utils.distributed import all_gather` in models/ring_attn_utils.py."""

all_gather = None
