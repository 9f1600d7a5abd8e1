"""llama.cpp writing with a GPT-2 of random weights: decode_peer.py FILE VOCAB WIDTH HEADS DEPTH CONTEXT TYPE THREADS TOKENS [prompt]

Writes the model as GGUF, then answers for each line on standard input, a multiple of TOKENS, how many seconds so many tokens took, one after the
other in an empty context of which TOKENS are used; with `prompt` all of these in one batch.
"""
import ctypes
import json
import os
import sys
import time

import gguf
import llama_cpp
import numpy as np


def write(path, vocab, width, heads, depth, context, kind):
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(depth)
    writer.add_feed_forward_length(4 * width)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("no_vocab")
    stored = {"Q8_0": gguf.GGMLQuantizationType.Q8_0, "Q4_0": gguf.GGMLQuantizationType.Q4_0}[kind]
    draw = np.random.default_rng(1)

    def matrix(name, rows, columns, keeps=False):
        values = (draw.standard_normal((rows, columns), np.float32) * np.float32(0.02)).astype(np.float32)
        if keeps:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)

    def vector(name, count, value):
        writer.add_tensor(name, np.full(count, value, np.float32))

    def norm(name):
        vector(f"{name}.weight", width, 1)
        vector(f"{name}.bias", width, 0)

    matrix("token_embd.weight", vocab, width)
    matrix("position_embd.weight", context, width, keeps=True)
    norm("output_norm")
    for i in range(depth):
        norm(f"blk.{i}.attn_norm")
        norm(f"blk.{i}.ffn_norm")
        for name, rows, columns in (("attn_qkv", 3 * width, width), ("attn_output", width, width), ("ffn_up", 4 * width, width), ("ffn_down", width, 4 * width)):
            matrix(f"blk.{i}.{name}.weight", rows, columns)
            vector(f"blk.{i}.{name}.bias", rows, 0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    path, vocab, width, heads, depth, context = sys.argv[1], *map(int, sys.argv[2:7])
    kind, threads, most = sys.argv[7], int(sys.argv[8]), int(sys.argv[9])
    if not os.path.exists(path):
        write(path, vocab, width, heads, depth, context, kind)
    prompt = len(sys.argv) > 10
    llama = llama_cpp.Llama(path, n_ctx=context, n_batch=most if prompt else 8, n_ubatch=min(most, 512) if prompt else 8, n_threads=threads, n_threads_batch=threads, verbose=False)
    handle, token = llama.ctx, (llama_cpp.llama_token * most)(*[(7 + i) % vocab for i in range(most)])
    at_once = most if prompt else 1

    def clear():
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(handle), True)

    def tokens(count):
        taken = 0
        while count > 0:
            clear()
            start = time.perf_counter()
            for _ in range(most // at_once):
                if llama_cpp.llama_decode(handle, llama_cpp.llama_batch_get_one(token, at_once)):
                    sys.exit("llama_decode failed")
                llama_cpp.llama_synchronize(handle)
                ctypes.cast(llama_cpp.llama_get_logits(handle), ctypes.c_void_p)
            taken += time.perf_counter() - start
            count -= most
        return taken

    tokens(most)
    print(json.dumps({"llama.cpp": "llama-cpp-python " + llama_cpp.__version__}), flush=True)
    for line in sys.stdin:
        print(tokens(int(line)), flush=True)


if __name__ == "__main__":
    main()
