#!/usr/bin/env python3
"""Writes what the `tokenizers` package makes of a nasty corpus, for test_tokenizers.py.

usage: golden.py DATA      DATA: a folder with data/tokenizers/gpt2 and bert-base-uncased

Needs the Python package tokenizers (0.23). Also trains the small vocabularies that the tests carry (small_*.json, .txt),
from a text of this project's own; they are only written if they are missing.
"""
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.implementations import ByteLevelBPETokenizer

HERE = pathlib.Path(__file__).resolve().parent
DATA = pathlib.Path(sys.argv[1]) / "data" / "tokenizers"

NASTY = [
    "", " ", "  ", "\n", "\t\t", " \n \n", "a", "A", "Hello, world!", "hello  world", " leading", "trailing ", "trailing  ",
    "don't I'm we'll they've you're he'd it's DON'T I'M 'S 'tis ''s", "1234567890 12,345.67 ½ ² ⅷ ٣٤ 一二三", "foo_bar __init__ a.b.c",
    "tab\tand\nnewline\r\nand\rreturn\x0bvt\x0cff", "e\u0301 é Å A\u030a Ångström naïve café résumé", "ﬁ ﬂ ﬃ ① ㎏ Ａｂｃ １２３ ｶﾞ",
    "İstanbul ISTANBUL ıstanbul DİYARBAKIR", "ΑΣ ΟΔΥΣΣΕΥΣ ς σ Σ", "Straße STRASSE ẞ", "你好，世界！今天天气很好。", "日本語のテキスト カタカナ ひらがな",
    "한국어 텍스트 안녕하세요", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया क्षत्रिय", "สวัสดีชาวโลก", "Привет, мир! Ёлка ёлка",
    "👍 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👋🏽 😀😀😀", "\u200bzero\u200bwidth\u200d joiner\ufeff bom", "\u00a0no\u00a0break \u3000ideographic \u2003em\u2009thin\u202fnarrow",
    "\u180emongolian\u180e vowel", "soft\u00adhyphen \u2028line \u2029para \x85nel", "control \x00\x01\x02\x1b\x7f end", "\ufffd replacement",
    "[CLS] [SEP] [MASK] [UNK] [PAD] <s> </s> <unk> <|endoftext|>", "##ing ## # Ġhello ▁meta", "x" * 99, "x" * 100, "x" * 101, "y" * 500,
    "abc" * 60, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "!?!?...---===***", "http://example.com/path?x=1&y=2#z",
    "C++ && || ->* <=> {}[]()", "\"quotes\" 'single' `back` «guillemets» „low“", "$100 €50 £20 ¥1000 ₹5", "a\u0300\u0301\u0302\u0303\u0304 zalgo z\u0335\u0322",
    "q\u0307\u0323 q\u0323\u0307 ordering", "\u1e9b\u0323 long s dot", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 𝓼𝓬𝓻𝓲𝓹𝓽", "𠀀𠀁 rare 〇", "\U000e0001tag\U000e007f private \ue000\uf8ff",
    "mixed\u0301case\u0301 ÀÉÎÕÜ àéîõü", "one\u2019s it\u2018s \u2013 en \u2014 em \u2026", "\u0e01\u0e33 thai am", "\u1100\u1161\u11a8 jamo", "Ǆ ǅ ǆ ŉ ﬀ",
    "    indented\n        more\n\n\nblank", "word\n\n  \t\nword", "end with newline\n", "end with spaces   \n", "trailing nbsp\u00a0", "\u00a0",
    "http\u2024 ․ ‥", "a b  c   d    e     f", "ＦＵＬＬ ＷＩＤＴＨ", "\u0130\u0131\u017f\u212a", "e\u0301\u0301e", "💩" * 20, "né" * 40,
]


def corpus():
    texts = list(NASTY)
    rng = random.Random(7)
    ranges = [(32, 127), (32, 127), (32, 127), (160, 0x250), (0x300, 0x370), (0x370, 0x500), (0x600, 0x700), (0x900, 0x980), (0x2000, 0x2070),
              (0x3040, 0x30ff), (0x4e00, 0x5000), (0xac00, 0xad00), (0x1f300, 0x1f650)]
    for _ in range(60):
        letters = []
        for _ in range(rng.randrange(1, 60)):
            low, high = rng.choice(ranges)
            code = rng.randrange(low, high)
            letters.append(chr(code) if rng.random() > 0.2 else " ")
        texts.append("".join(letters))
    readme = (HERE / "prose.txt").read_text()
    texts += readme.split("\n\n")[:12]
    texts.append(readme[-2000:])
    return texts


def write(name, tokenizer, special=False):
    items = []
    for text in corpus():
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        items.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True),
                      "decoded_special": tokenizer.decode(ids, skip_special_tokens=False)})
    path = HERE / f"golden_{name}.json"
    path.write_text("[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in items) + "\n]\n")
    print(path.name, len(items))


def small(name, make):
    path = HERE / f"small_{name}.json"
    if not path.exists():
        make().save(str(path), pretty=False)
    write(name, Tokenizer.from_file(str(path)))


def train(tokenizer, trainer):
    tokenizer.train_from_iterator((HERE / "prose.txt").read_text().split("\n"), trainer)
    return tokenizer


def bpe():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    train(t, trainers.BpeTrainer(vocab_size=500, special_tokens=["<|endoftext|>", "<|pad|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                 show_progress=False))
    return t


def llama():       # pattern of another kind, digits in threes, prefix marks, byte fallback
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    train(t, trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)], show_progress=False))
    state = json.loads(t.to_str())
    state["post_processor"] = json.loads(processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)]).__getstate__())
    state["added_tokens"] = state["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(state))


def tiktoken():    # the split of newer byte-level vocabularies, whole pieces first
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    train(t, trainers.BpeTrainer(vocab_size=450, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                 show_progress=False))
    t.add_tokens([AddedToken("tokens", single_word=True), AddedToken("<sep>", lstrip=True, rstrip=True, normalized=False)])
    return t


def clip():        # characters with an end of word
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)])
    t.decoder = decoders.BPEDecoder("</w>")
    return train(t, trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t = train(t, trainers.UnigramTrainer(vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    state = json.loads(t.to_str())
    state["post_processor"] = json.loads(processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)]).__getstate__())
    return Tokenizer.from_str(json.dumps(state))


def unigram_first():
    state = json.loads((HERE / "small_unigram.json").read_text())
    t = Tokenizer.from_str(json.dumps(state))
    t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Strip()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Metaspace(prepend_scheme="first")])
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    return t


def wordpiece():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t = train(t, trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def words():
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t = train(t, trainers.WordLevelTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False))
    return t


def bert(lowercase, path):
    t = Tokenizer(models.WordPiece.from_file(str(path), unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    return t


for name, make in (("bpe", bpe), ("llama", llama), ("tiktoken", tiktoken), ("clip", clip), ("unigram", unigram), ("unigram_first", unigram_first),
                   ("wordpiece", wordpiece), ("words", words)):
    small(name, make)

# the same vocabulary as separate files
state = json.loads((HERE / "small_bpe.json").read_text())["model"]
(HERE / "small_vocab.json").write_text(json.dumps(state["vocab"], ensure_ascii=True))
(HERE / "small_merges.txt").write_text("#version: 0.2\n" + "\n".join(m if isinstance(m, str) else " ".join(m) for m in state["merges"]) + "\n")
state = json.loads((HERE / "small_wordpiece.json").read_text())["model"]
(HERE / "small_vocab.txt").write_text("\n".join(sorted(state["vocab"], key=state["vocab"].get)) + "\n")
write("files", ByteLevelBPETokenizer(str(HERE / "small_vocab.json"), str(HERE / "small_merges.txt"))._tokenizer)
write("bert_small", bert(True, HERE / "small_vocab.txt"))
write("gpt2", ByteLevelBPETokenizer(str(DATA / "gpt2/vocab.json"), str(DATA / "gpt2/merges.txt"))._tokenizer)
write("bert", bert(True, DATA / "bert-base-uncased/vocab.txt"))
write("cased", bert(False, DATA / "bert-base-uncased/vocab.txt"))
