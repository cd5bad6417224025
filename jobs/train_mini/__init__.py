"""How `mini` is made: texts -> tokenizer -> static token vectors -> contextual MoE -> model files."""
