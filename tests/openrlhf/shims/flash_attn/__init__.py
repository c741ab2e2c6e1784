"""For models/ring_attn_utils.py, which imports it always: flash-attn needs a GPU's compiler."""
