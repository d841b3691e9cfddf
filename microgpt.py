"""microgpt: a GPT (generative pre-trained transformer) that learns names, in plain Python.

    python microgpt.py       train for some seconds, then invent 20 names
    python -i microgpt.py    the same, then ask it: generate(model, "em")

A GPT predicts the next token of a text, here a character, from those before it. The example below
is the name "ava"; [27][16] is a shape: 27 lists of 16 Values. Large models differ in more than
size: tokens are pieces of words, and training goes on with dialogues. Likely text can be false.
"""
import gc
import math
import random
import sys
import time
from operator import mul
from pathlib import Path
# %% Hyperparameters: change one, run again, compare the loss (the error) on held-out names.
input_file = "input.txt"  # names: short, and anyone can judge them; or your text, a document a line
n_layer = 1           # blocks of attention and MLP (section 3), one after the other
n_embd = 16           # numbers that describe a token: more can say more, and take more time
n_head = 4            # attention heads: each works with n_embd / n_head = 4 numbers of its own
block_size = 16       # context: the most tokens it looks back on; longer documents are cut
std = 0.08            # spread of the random start: all equal learn alike; large ones guess wildly
num_steps = 1000      # training steps, one document each
learning_rate = 0.01  # about how far a step moves a parameter at first; falls evenly to 0
beta1, beta2 = 0.85, 0.99  # Adam (section 4) averages over about 1 / (1 - beta) steps: 7 and 100
num_held_out = 300    # at most a tenth, never learnt from: does it know names, or only these?
temperature = 0.5     # sampling: 1 obeys the probabilities, above 1 dares more, 0 takes the top one
num_samples = 20      # names to make up at the end
seed = 42             # same seed: same names, and losses to four decimals, on any Python
# %% 1. Autograd: for the loss, the error, to fall, each number must know which way to move.
tape = []  # all Values since the last backward(), as they were made: inputs before results


class Value:
    """A number, and in grad its gradient: a tiny rise h of it raises the loss by grad * h."""
    __slots__ = "data", "grad", "inputs", "local_grads"  # no dict for each: smaller and faster

    def __init__(self, data, inputs=(), local_grads=()):  # local_grads: its slope for each input
        self.data, self.grad, self.inputs, self.local_grads = data, 0.0, inputs, local_grads
        tape.append(self)  # a float forgets how it was made; a Value can be traced back

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):  # if a rises by h, a * b rises by h * b: the slope for a is b
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n): return Value(float(self.data ** n), (self,), (n * self.data ** (n - 1),))
    def exp(self): return Value(math.exp(self.data), (self,), (math.exp(self.data),))
    def log(self): return Value(math.log(self.data), (self,), (1 / self.data,))
    def relu(self): return Value(max(0.0, self.data), (self,), (self.data > 0,))  # below 0: flat
    def __neg__(self): return self * -1
    def __sub__(self, other): return self + -other
    def __rsub__(self, other): return -self + other  # r: for number - Value, and so below
    def __truediv__(self, other): return self * other ** -1
    def __rtruediv__(self, other): return self ** -1 * other
    def __rpow__(self, base): return (self * math.log(base)).exp()
    def __repr__(self): return f"Value(data={self.data:.6g}, grad={self.grad:.6g})"
    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        """Add d(self) / d(value) to the grad of each value self was made from (Rumelhart 1986)."""
        if self not in reversed(tape):
            raise RuntimeError("not on the tape: backward() works once, so compute this Value anew")
        nodes, tape[:] = tape[:], []  # emptied first: an interrupted walk leaves nothing behind
        self.grad = 1.0  # a number rises exactly as fast as itself
        for node in reversed(nodes):  # results before inputs: node.grad is complete by its turn
            grad = node.grad
            if grad:  # 0 has nothing to pass on: not used by self, or behind a ReLU at rest
                for value, local_grad in zip(node.inputs, node.local_grads):
                    value.grad += local_grad * grad  # slopes multiply (chain rule), uses add up


def dot(xs, ys, x_data=None):
    """Return sum(x * y) as one node, faster than * and +; x_data: the floats of xs, if at hand."""
    assert len(xs) == len(ys), f"dot pairs Values up, but got {len(xs)} and {len(ys)} of them"
    x_data, y_data = x_data or [x.data for x in xs], [y.data for y in ys]
    return Value(sum(map(mul, x_data, y_data)), [*xs, *ys], y_data + x_data)  # slopes as in *


# %% 2. Tokenizer: a model computes with numbers, so a character becomes an id, a row to look up.
def load(name):
    """Return the documents, one a line, of a UTF-8 file beside this one or where you are."""
    path = Path(globals().get("__file__", "")).parent / name  # in a notebook: no __file__
    try:
        text = (path if path.exists() else Path(name)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        sys.exit(f"{name} must be a UTF-8 text file, a document a line, but: {error}")
    docs = [line.strip() for line in text.split("\n") if line.strip()]
    return docs or sys.exit(f"{name} holds no document: write one on each line")


# ava -> 26 0 21 0 26: raw ASCII would leave gaps. 26, the 27th id, is BOS (begin), also the end.
def encode(text, chars): return [len(chars)] + [chars.index(c) for c in text] + [len(chars)]
def decode(ids, chars): return "".join(chars[i] for i in ids if i < len(chars))  # without BOS


# %% 3. GPT: from a token and those before it to a score for each token that could come next.
def matrix(n, m, rng): return [[Value(rng.gauss(0, std)) for _ in range(m)] for _ in range(n)]
def plus(x, y): return [a + b for a, b in zip(x, y)]  # linear, below: each row of w dotted with x
def times(x, factor): return [a * factor for a in x]  # in linear, x_data is read once for all rows
def linear(x, w): return [dot(x, row, x_data) for x_data in [[a.data for a in x]] for row in w]
def rmsnorm(x): return times(x, (dot(x, x) / len(x) + 1e-5) ** -0.5)  # mean square 1; no 1 / 0
def exps(scores, top): return [(score - top).exp() for score in scores]  # - top: no overflow
def shares(parts): return times(parts, sum(parts) ** -1)  # sum to 1, as probabilities; top cancels
def softmax(scores): return shares(exps(scores, max(score.data for score in scores)))


def attention(x, block, keys, values, n_head):
    """Fetch for x what it needs from the tokens up to here: [16] -> [16] (Vaswani 2017)."""
    q = linear(x, block["wq"])             # query: what this token looks for
    keys.append(linear(x, block["wk"]))    # key: what it is found by; no mask: no later keys yet
    values.append(linear(x, block["wv"]))  # value: what it then gives; it can find itself, too
    out, head_dim = [], len(x) // n_head   # one softmax, one focus; four heads can have four
    for head in [slice(h * head_dim, (h + 1) * head_dim) for h in range(n_head)]:
        # Dots of n numbers grow like n ** 0.5; large scores make softmax favour one key too much.
        weights = softmax([dot(q[head], key[head]) / head_dim ** 0.5 for key in keys])
        out += [dot(weights, column) for column in zip(*(value[head] for value in values))]  # mean
    return linear(out, block["wo"])  # mix the heads


class GPT:
    """GPT-2 (Radford 2019), but RMSNorm without gain (Zhang & Sennrich 2019), ReLU, no biases."""
    def __init__(self, chars, n_layer, n_embd, n_head, block_size, rng):
        self.chars, self.BOS, self.n_head = chars, len(chars), n_head
        self.wte = matrix(len(chars) + 1, n_embd, rng)      # [27][16], a row per token: what it is
        self.wpe = matrix(block_size, n_embd, rng)          # [16][16], a row per position: where
        self.lm_head = matrix(len(chars) + 1, n_embd, rng)  # a row per next token; GPT-2: wte again
        shapes = dict.fromkeys(("wq", "wk", "wv", "wo"), (n_embd, n_embd))
        shapes.update(fc1=(4 * n_embd, n_embd), fc2=(n_embd, 4 * n_embd))  # 4: as in GPT-2
        self.blocks = [{w: matrix(*shapes[w], rng) for w in shapes} for _ in range(n_layer)]
        matrices = [self.wte, self.wpe, self.lm_head] + [b[w] for b in self.blocks for w in b]
        self.params = [p for w in matrices for row in w for p in row]  # all that it ever knows

    def __call__(self, tokens):
        """Read token after token; after each, yield the logits, the scores of the next: [27]."""
        caches = [([], []) for _ in self.blocks]  # keys, values so far: in training, too
        for token, position in zip(tokens, self.wpe):  # tokens may grow meanwhile; wpe is the limit
            x = rmsnorm(plus(self.wte[token], position))  # what + where; no norm here in GPT-2
            for block, (keys, values) in zip(self.blocks, caches):  # x + ...: gradients pass intact
                x = plus(x, attention(rmsnorm(x), block, keys, values, self.n_head))
                hidden = [h.relu() for h in linear(rmsnorm(x), block["fc1"])]  # 64 wide: more bends
                x = plus(x, linear(hidden, block["fc2"]))  # without ReLU, fc1 and fc2 were as one
            logits = linear(x, self.lm_head)  # GPT-2 norms x first
            if not math.isfinite(sum(logit.data for logit in logits)):
                raise FloatingPointError("the loss is no longer finite")
            yield logits


# %% 4. Training: nudge all parameters, document after document, to make each document likelier.
def document_loss(model, doc, learn=False):
    """Return the mean -log(p of the right next token), 0 if p = 1; p's multiply, so logs add."""
    tokens, losses, start = encode(doc, model.chars), [], len(tape)
    for target, logits in zip(tokens[1:], model(tokens)):  # after 26, 0, 21, 0 come 0, 21, 0, 26
        top = max(logit.data for logit in logits)
        losses.append(sum(exps(logits, top)).log() + top - logits[target])  # -log(p), no log(0)
    loss = sum(losses) / len(losses)  # guessing: ln 27 = 3.296, about its start; letter pairs: 2.46
    learn and loss.backward()  # adds to the gradients
    del tape[start:]  # if not learnt from: forget how it was computed
    return loss.data  # of one document: some are odder, so it jumps; rows show means


def train(model, docs, num_steps, learning_rate):
    """Move the parameters by Adam (Kingma & Ba 2015), a document a step; Ctrl-C ends it early."""
    m, v, losses, start = [0.0] * len(model.params), [0.0] * len(model.params), [], time.time()
    getattr(gc, "set_threshold", int)(100_000)  # gc: seldom, as no cycles form; int: PyPy lacks it
    try:
        for step in range(1, num_steps + 1):
            for p in model.params:
                p.grad = 0.0  # forget the last document, for backward() only adds
            losses.append(document_loss(model, docs[(step - 1) % len(docs)], learn=True))
            rate = learning_rate * (1 - (step - 1) / num_steps)  # smaller and smaller, to settle
            fix1, fix2 = 1 - beta1 ** step, 1 - beta2 ** step    # m, v start at 0, so too small
            for i, p in enumerate(model.params):  # not grad alone: its size differs from p to p
                m[i] = beta1 * m[i] + (1 - beta1) * p.grad           # mean gradient: direction
                v[i] = beta2 * v[i] + (1 - beta2) * p.grad * p.grad  # mean square: usual size
                p.data -= rate * (m[i] / fix1) / (math.sqrt(v[i] / fix2) + 1e-8)  # downhill
            if step * 10 % num_steps < 10:  # ten rows, or num_steps if fewer; the last at the end
                mean, losses, gone = sum(losses) / len(losses), [], time.time() - start
                print(f"step {step:6}  loss {mean:.4f} {'#' * min(40, round(9 * mean)):40}"
                      f"{gone:6.1f} s gone {gone / step * (num_steps - step):6.1f} s left  "
                      f"{generate(model, '', temperature, random.Random(seed))}", flush=True)
    except KeyboardInterrupt:
        print(f"Ctrl-C in step {step} of {num_steps}: on with what it has learnt by now")
    except FloatingPointError as error:
        sys.exit(f"step {step}: {error}; lower learning_rate {learning_rate}")


# %% 5. Sampling: the model chooses token after token, until it chooses BOS or the context is full.
def generate(model, prompt="", temperature=temperature, rng=random):
    """Invent a text that begins with prompt; raise ValueError where that cannot be done."""
    if unknown := sorted(set(prompt) - set(model.chars)):
        raise ValueError(f"{unknown[0]!r} in the prompt is not among the characters it learnt from")
    if len(prompt) >= len(model.wpe) or not temperature >= 0:
        raise ValueError(f"it needs {len(prompt)=} < {len(model.wpe)} and {temperature=} >= 0")
    tokens, start = encode(prompt, model.chars)[:-1], len(tape)  # no BOS at the end: it goes on
    for i, logits in enumerate(model(tokens), start=1):  # subtle: model reads tokens as they grow
        if i == len(tokens):  # the prompt is read: choose the next, and the model reads on
            probs = [p.data for p in softmax(times(logits, 1 / max(temperature, 1e-9)))]  # 0: top
            tokens += rng.choices(range(len(probs)), probs)  # how sure? print(max(probs))
            if tokens[-1] == model.BOS:
                break
    del tape[start:]
    return decode(tokens, model.chars)


def main():
    """Check the knobs, read, build, train, measure, invent; return the trained model."""
    for name, low in dict(n_layer=1, n_embd=1, n_head=1, block_size=1, num_steps=0, num_held_out=0,
                          num_samples=0, learning_rate=1e-9, temperature=0.0, beta1=0.0, beta2=0.0
                          ).items():
        value, high = globals()[name], 1 if "beta" in name else math.inf
        if not isinstance(value, (int, type(low))) or not low <= value < high:
            sys.exit(f"{name} is {value!r}; give {type(low).__name__}, {low} or more, below {high}")
    n_embd % n_head and sys.exit(f"n_embd {n_embd} is no multiple of n_head {n_head}: make it one")
    docs, rng = load(input_file), random.Random(seed)
    rng.shuffle(docs)  # the file may be sorted; what is held out should be like the rest
    model = GPT(sorted(set("".join(docs))), n_layer, n_embd, n_head, block_size, rng)
    cut, guess = len(docs) - min(num_held_out, len(docs) // 10), math.log(len(model.wte))
    print(f"{len(docs):,} documents in {input_file}, such as {', '.join(docs[:3])[:60]}\n"
          f"{len(model.wte)} tokens: BOS and {''.join(model.chars)}\n"
          f"{len(model.params):,} parameters; guessing blindly: ln {len(model.wte)} = {guess:.3f}\n"
          f"untrained it invents {generate(model, '', temperature, random.Random(seed))}")
    if too_long := [doc for doc in docs if len(doc) >= block_size]:
        print(f"{len(too_long)} documents are cut to block_size {block_size}; block_size = "
              f"{max(map(len, docs)) + 1} would hold {[doc[:30] for doc in too_long[:3]]}")
    train(model, docs[:cut], num_steps, learning_rate)
    held_out = sorted(set(docs[cut:]) - set(docs[:cut]))  # a line may stand in the file twice
    loss = sum(document_loss(model, doc) for doc in held_out) / max(1, len(held_out))
    print(f"{len(held_out)} held-out documents: loss {loss:.3f}, as unsure as among "
          f"{math.exp(min(loss, 700)):.1f} characters; guessing: {guess:.3f}, {len(model.wte)}"
          if held_out else "nothing held out: not asked for, too few documents, or too alike")
    for name in (generate(model, "", temperature, rng) for _ in range(num_samples)):
        print(f"{name:20} in {input_file}" if name in docs else name)  # but maybe never trained on
    return model


if __name__ == "__main__":
    getattr(sys.stdout, "reconfigure", dict)(errors="backslashreplace")  # print any character
    model = print(__doc__) if sys.argv[1:] and "__file__" in globals() else main()  # --help
