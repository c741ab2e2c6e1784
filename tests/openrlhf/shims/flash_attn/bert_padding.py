"""For `from flash_attn.bert_padding import ...` in models/ring_attn_utils.py; packed samples alone use it."""

index_first_axis = pad_input = rearrange = unpad_input = None
