"""The program that the tests of texts have in common: a mean of embeddings of the tokens of a column."""

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
model Net(vocab: int) {
  tok = Embedding(vocab, 4)
  fc  = Dense(2)
  fn forward(x: class(vocab)[b, t]) -> float[b, 2] { return fc(mean(tok(x), axis: 1)) }
}
dataset notes {
  source: SOURCE
  field ids: class(vocab)[LENGTH] = tokens(PLACE, TOKENIZER)
  field n: i32 = token_count("ids")
FIELDS  split: { SPLIT }
  fn prepare(s) { return { x: select(iota([LENGTH]) < s.n, s.ids, s.ids), y: s.y } }
}
train net { model: Net(notes.vocab) data: notes loss: cross_entropy optimizer: adamw(lr: 1e-2) length: 4 steps batch: 2 }
deploy small { model: net.last, batch: [1, 4] }
"""


def program(tokenizer, length=16, source='csv("notes.csv")', place='column("text")', label='column("class")', fields=None,
            split="train: 50%, valid: 50%, seed: 1"):
    fields = f"  field y: class(2) = {label}\n" if fields is None else fields
    text = PROGRAM
    for name, value in (("SOURCE", source), ("LENGTH", str(length)), ("PLACE", place), ("TOKENIZER", tokenizer), ("FIELDS", fields), ("SPLIT", split)):
        text = text.replace(name, value)
    return text
