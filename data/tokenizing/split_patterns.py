"""The regular expressions by which byte-level tokenizers cut a text into words.

GPT-2's is from openai/gpt-2, the others from the published tokenizer.json of Qwen2 and Llama 3.
"""

from __future__ import annotations

_CONTRACTION = "'s|'t|'re|'ve|'m|'ll|'d"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# Each digit is a token, so that digits of equal place value align; a word includes the space
# before it.
OURS = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = _CONTRACTION + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = f"(?i:{_CONTRACTION})|{_WORD}|\\p{{N}}|{_REST}"
LLAMA3 = f"(?i:{_CONTRACTION})|{_WORD}|\\p{{N}}{{1,3}}|{_REST}"


if __name__ == "__main__":
    from tokenizers import Regex, pre_tokenizers

    for pattern in (OURS, GPT2, QWEN2, LLAMA3):
        cut = pre_tokenizers.Split(Regex(pattern), "isolated")
        print([piece for piece, _ in cut.pre_tokenize_str("it's 1234 words, (two)")])
    print("=== 自测通过 ===")
