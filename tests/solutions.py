"""The exercises of README.md, solved.

    python -m tests.solutions                     # lists them
    python -m tests.solutions "final rmsnorm"     # runs microgpt.py with this change

A solution shows which lines of microgpt.py go (-), come (+), and stay. Comments between
the lines don't matter. The held-out loss is 2.347 without any change.
"""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
SOLUTIONS = {}

SOLUTIONS["final rmsnorm"] = """\
Rescale x once more, before lm_head, as GPT-2 does. Expect 2.366: with one block, this
is no gain.

-        return linear(x, self.lm_head)
+        return linear(rmsnorm(x), self.lm_head)
"""

SOLUTIONS["GELU for ReLU"] = """\
GELU is a smooth ReLU, here in the form with tanh, as in GPT-2. It is made of operations
that Value has, so backward() needs nothing new. Expect 2.342, which is within luck.

+def gelu(x):
+    inner = (2 / math.pi) ** 0.5 * (x + 0.044715 * x ** 3)
+    tanh = 1 - 2 / ((2 * inner).exp() + 1)
+    return 0.5 * x * (1 + tanh)
 def mlp(x, block):

-    hidden = [match.relu() for match in linear(x, block["fc1"])]
+    hidden = [gelu(match) for match in linear(x, block["fc1"])]
"""

SOLUTIONS["tied embeddings"] = """\
lm_head is wte, as in GPT-2. Expect 2.379 with 3,760 parameters. Without the second
change there are still 4,192: those of wte stand in params twice, so each step moves
them twice. That gives 2.371.

-        self.lm_head = random_matrix(vocab_size, n_embd, rng)
+        self.lm_head = self.wte

-        matrices = [self.wte, self.wpe, self.lm_head]
+        matrices = [self.wte, self.wpe]
"""

SOLUTIONS["log-sum-exp"] = """\
-log(exp(target) / sum) is log(sum) - target, where no probability can become 0. As in
softmax, exp gets scores minus the largest, which is added again after log. Expect the
same 2.347. But learning_rate = 1 gets to its end, and does not stop at step 2.

-        probs = softmax(logits)
-        p = probs[tokens[position + 1]]
-        assert p.data > 1e-300, ...
-        losses.append(-p.log())
+        largest = max(logit.data for logit in logits)
+        total = sum((logit - largest).exp() for logit in logits)
+        losses.append(total.log() + largest - logits[tokens[position + 1]])
"""

SOLUTIONS["batches of 8 names"] = """\
Each step uses the mean loss of eight names. Expect 2.255. But 8,000 steps of one name,
which read as many names, give 2.244.

-        document = documents[(step - 1) % len(documents)]
-        loss = document_loss(model, tokenizer, document)
+        first = 8 * (step - 1)
+        batch = [documents[i % len(documents)] for i in range(first, first + 8)]
+        loss = sum(document_loss(model, tokenizer, name) for name in batch) / 8
"""

SOLUTIONS["dropout of 0.1"] = """\
In training, a tenth of the hidden numbers become 0, others each time, so that none can
rely on another. The rest are divided by 0.9, which keeps their sum the same on average.
Expect 2.346, within luck: no name is read twice, so there is nothing to overfit.

+dropout = 0.0
+dropout_rng = random.Random(1)
+def kept():
+    return 0.0 if dropout_rng.random() < dropout else 1 / (1 - dropout)
 def mlp(x, block):

-    hidden = [match.relu() for match in linear(x, block["fc1"])]
+    hidden = [match.relu() * kept() for match in linear(x, block["fc1"])]

+        global dropout
+        dropout = 0.1
         loss = document_loss(model, tokenizer, document)
+        dropout = 0.0
"""

SOLUTIONS["top-k sampling, k = 5"] = """\
Draw only from the five likeliest tokens. Expect that at temperature 1, about 29 % of
the names are real (68 of the first 200), where it was 7 % (18 of the first 200).

             weights = [p.data for p in probs]
+            fifth = sorted(weights)[-5]
+            weights = [w if w >= fifth else 0.0 for w in weights]
"""

SOLUTIONS["sub-word tokens"] = """\
Byte-pair encoding: 20 times, the pair that is then the most frequent becomes one token,
written as a capital letter, because the names have none. With 5.9 tokens in a name, its
end included, instead of 7.2, expect 2.897 per token, which is 2.380 per character.

+from collections import Counter
 import gc

         self.chars = sorted(set("".join(documents)))
+        self.pairs = {}
+        text = "\\n".join(documents)
+        for new in "ABCDEFGHIJKLMNOPQRST":
+            counts = Counter(a + b for a, b in zip(text, text[1:]) if "\\n" not in a + b)
+            self.pairs[new] = max(counts, key=counts.get)
+            text = text.replace(self.pairs[new], new)
+        self.chars += self.pairs

+        for new, pair in self.pairs.items():
+            text = text.replace(pair, new)
         return [self.ids[char] for char in text]

-        return "".join(self.chars[i] for i in ids)
+        text = "".join(self.chars[i] for i in ids)
+        for new in reversed(list(self.pairs)):
+            text = text.replace(new, self.pairs[new])
+        return text
"""


# --- How they are put in place


def changes(solution):
    """Return a solution as pairs of an old and a new text of microgpt.py."""
    pairs = []
    for part in SOLUTIONS[solution].split("\n\n")[1:]:
        lines = part.splitlines()
        old = [line[1:] + "\n" for line in lines if line[0] != "+"]
        new = [line[1:] + "\n" for line in lines if line[0] != "-"]
        pairs.append(("".join(old), "".join(new)))
    return pairs


def edited(pairs=(), **settings):
    """Return microgpt.py with texts replaced, without comments and blank lines.

    In an old text, "..." stands for the rest of a line.
    """
    source = (ROOT / "microgpt.py").read_text(encoding="utf-8")
    source = re.sub(r"(?m)^ *(#.*)?\n|  +#.*", "", source)
    settings.setdefault("input_file", str(ROOT / "input.txt"))
    for name, value in settings.items():
        pairs = [*pairs, (f"\n{name} = ...", f"\n{name} = {value!r}")]
    for old, new in pairs:
        pattern = re.escape(old).replace(re.escape("..."), ".*")
        parts = re.split(pattern, source)
        assert len(parts) == 2, f"this must stand once in microgpt.py: {old!r}"
        source = new.join(parts)
    return source


def run(pairs=(), **settings):
    """Do what `python microgpt.py` does with these changes; return all its names."""
    names = {"__name__": "__main__"}
    with mock.patch.dict(sys.modules):  # the program registers itself as a module
        exec(edited(pairs, **settings), names)
    return SimpleNamespace(**names)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        run(changes(sys.argv[1]))
    else:
        print(*SOLUTIONS, sep="\n")
