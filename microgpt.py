"""microgpt: a GPT in one file of plain Python, to be read top to bottom.

A GPT reads the beginning of a text and guesses what comes next. This one learns from
names, then invents new ones. The pieces it reads and writes are called tokens: here,
each letter is a token, and so is BOS ("beginning of sequence"), which marks both the
start and the end of a name. So "ava" yields four exercises:

    it has read          it should guess
    BOS                  "a"
    BOS "a"              "v"
    BOS "a" "v"          "a"
    BOS "a" "v" "a"      BOS, because the name is over

A guess is a probability for each token, computed from the tokens read so far and from
4,192 numbers called parameters. They start out random, and everything the model learns
is stored in them. Training shows it one name after another, each time nudging the
parameters so that the right tokens become more likely. To invent a name, the program
draws a token according to the probabilities, lets the model read it, and repeats until
BOS comes up. Watch noise turn into names:

    $ python microgpt.py
    step      1  loss 3.5089  #####################     9 s left  rahguuzdjahlaftk
    step    100  loss 2.7434  ################          8 s left  jasa
    ...
    step   1000  loss 2.4599  ###############           0 s left  sari
    held-out loss 2.347; blind guessing 3.296
    emyia              mevia              shylea             shenan ...

The loss measures how wrong the guesses are. The held-out loss is for names that the
model never trained on.

input.txt has 29,693 first names given in the United States in 2018. They are short, so
training takes seconds, and anyone can judge the new ones. GPT stands for generative
pre-trained transformer. It generates text, it's trained before it's adapted to any one
task, and the transformer (Vaswani et al., 2017) is the kind of model in section 3.
"""
import gc
import math
import random
import sys
import time
from operator import mul

# ------------------------------------------------------------------------------------
# Settings: change one, run again, and compare the held-out loss
#
# Training finds the parameters. We choose these hyperparameters, mostly by trial and
# error. (A difference in loss of less than 0.01 may be luck.) GPT() and train() take
# theirs as arguments, so you can pass others by hand. The rest are read from here.

input_file = "input.txt"  # one document (here, a name) per line
num_held_out = 300  # documents kept for testing, a tenth of them at most

n_layer = 1  # blocks, each made of attention and an MLP
n_embd = 16  # numbers that describe a token
n_head = 4  # attention heads in a block; must divide n_embd
block_size = 16  # the model learns at most this many characters of a document

num_steps = 1000  # training steps, one document each
learning_rate = 0.01  # a parameter rarely moves farther than this in a step
beta1 = 0.85  # how slowly Adam forgets old gradients
beta2 = 0.99  # how slowly it forgets their squares

temperature = 0.5  # low for careful names, high for daring ones
num_samples = 20  # names to invent at the end
seed = 42  # for random numbers; the same seed gives the same names


# ------------------------------------------------------------------------------------
# 1. Autograd: find out which way to move each number
#
# The model and its loss are one long formula. Parameters and tokens go in, and the
# loss comes out. To lower the loss, we need the gradient of each parameter: how fast
# the loss rises when that parameter alone rises. (In school, this was the slope, or
# derivative.) If the gradient is 3, raising the parameter by a tiny h raises the loss
# by about 3 * h, so the parameter should go down. For small moves, the effects of all
# parameters add up, so they can move at the same time.
#
# To find the gradient, we follow the operations from the loss back to the parameter and
# multiply their slopes. A float forgets how it was computed. A Value remembers its
# inputs (the Values it came from) and its slope for each of them. A GPT needs only six
# operations:
#
#     result     slope for a         because, for a tiny h,
#     a + b      1                   (a + h) + b  = (a + b) + h
#     a * b      b                   (a + h) * b  = a * b + b * h
#     a ** n     n * a ** (n - 1)    (a + h) ** 2 = a ** 2 + 2 * a * h + (tiny) h * h
#     exp(a)     exp(a)              exp(a + h)   = exp(a) * exp(h)
#                                                   and exp(h) is about 1 + h
#     log(a)     1 / a               log(a + h)   = log(a) + log(1 + h / a)
#                                                   and log(1 + h / a) is about h / a
#     relu(a)    1 if a > 0          relu(a + h)  = a + h
#                0 otherwise         relu(a + h)  = 0 (at a = 0, we choose the slope 0)

tape = []  # the Values computed so far, oldest first


class Value:
    """A number that remembers how it was computed.

    >>> a = Value(2.0)
    >>> b = a ** 2
    >>> c = b ** 2
    >>> loss = b + c
    >>> loss.backward()
    >>> a.grad
    36.0
    >>> h = 0.0001                                 # is that right? raise a by h:
    >>> rise = (2 + h) ** 2 + (2 + h) ** 4 - 20    # how far the loss rises
    >>> round(rise / h, 1)
    36.0
    >>> a.data -= 0.01 * a.grad                    # learn: move a downhill
    >>> round(a.data ** 2 + a.data ** 4, 2)        # the loss was 20
    9.92
    """

    __slots__ = ("data", "grad", "inputs", "slopes")  # saves memory

    def __init__(self, data, inputs=(), slopes=()):
        self.data = data  # the number itself
        self.grad = 0.0  # its gradient, once backward() has found it
        self.inputs = inputs  # the Values it was computed from
        self.slopes = slopes  # its slope for each input
        if inputs:
            tape.append(self)

    def __add__(self, other):
        if not isinstance(other, Value):
            other = Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        if not isinstance(other, Value):
            other = Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):  # n is a plain number
        slope = n * self.data ** (n - 1) if n != 0 else 0.0  # a ** 0 is always 1
        return Value(self.data ** n, (self,), (slope,))

    def exp(self):
        result = math.exp(self.data)
        return Value(result, (self,), (result,))

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def relu(self):  # rectified linear unit
        slope = 1.0 if self.data > 0 else 0.0
        return Value(max(self.data, 0.0), (self,), (slope,))

    # The other operators are made from these. The __r ones are for a Value on the
    # right: 1 / a calls a.__rtruediv__(1), and sum() starts with 0 + a.
    def __neg__(self): return self * -1
    def __sub__(self, other): return self + -other
    def __truediv__(self, other): return self * other ** -1
    def __radd__(self, other): return self + other
    def __rsub__(self, other): return -self + other
    def __rmul__(self, other): return self * other
    def __rtruediv__(self, other): return self ** -1 * other

    def __repr__(self):
        return f"Value(data={self.data}, grad={self.grad})"

    # --- Backpropagation: gradients flow from the loss back to its inputs
    #
    # This is the example above, with the slope on each arrow:
    #
    #              4             8              1
    #     a = 2 ======> b = 4 ======> c = 16 ======> loss = b + c = 20
    #                     \                             ^
    #                      \============================/  1
    #
    #     Value   its gradient    what it passes on: slope * gradient
    #     loss    1               1 * 1 = 1 to c   and   1 * 1 = 1 to b
    #     c       1               8 * 1 = 8 to b
    #     b       1 + 8 = 9       4 * 9 = 36 to a
    #     a       36              nothing, because it has no inputs
    #
    # The loss rises as fast as itself, so its gradient is 1. Along a path, slopes
    # multiply: if b rises 4 times as fast as a, and the loss 9 times as fast as b, then
    # the loss rises 36 times as fast as a. That's the chain rule. Where several paths
    # lead to the loss, as they do from b, we add their shares.
    #
    # If b passed on its first share before the second arrived, a would get 4 instead of
    # 36. But everything computed from b is newer than b. Walking from the newest Value
    # to the oldest, we reach b only after every use of it has added its share.

    def backward(self):
        """Find how fast this Value, the loss, rises with each Value it came from.

        Add that to its grad. The tape is used up, so compute a new loss every time.
        """
        assert self in tape, f"{self} is not on the tape: compute a new loss first"
        newest_first = tape[::-1]
        tape.clear()
        self.grad = 1.0
        for result in newest_first:
            grad = result.grad  # complete by now
            if grad != 0:  # 0 has nothing to pass on
                for value, slope in zip(result.inputs, result.slopes):
                    value.grad += slope * grad


# --- dot: many operations in one Value
#
# A dot product multiplies two vectors (lists of Values) number by number and adds the
# products. It is large if they match:
#
#     [1, -1] and [ 2, -2]     2 + 2 =  4     signs agree
#     [1, -1] and [-2,  2]    -2 - 2 = -4     signs differ
#     [1, -1] and [ 2,  2]     2 - 2 =  0     mixed
#
# Built from * and +, it would need two Values per pair, and training would take five
# times as long. The slope for each x is the y paired with it, and vice versa.
# In dot(x, x), every x is an input twice, and its two slopes add up.

def dot(xs, ys):
    """Return the dot product of two vectors, a Value."""
    assert len(xs) == len(ys), f"cannot pair {len(xs)} numbers with {len(ys)}"
    x_data = [x.data for x in xs]
    y_data = [y.data for y in ys]
    return Value(sum(map(mul, x_data, y_data)), xs + ys, y_data + x_data)


# ------------------------------------------------------------------------------------
# 2. Tokenizer: from text to numbers and back
#
# The id of a token says where to find its row in a table of parameters, and no more:
# "a" and "b" are neighbors, but may have nothing in common.
#
#     token    "a"   "b"   "c"   ...   "v"   ...   "z"   BOS
#     id        0     1     2    ...   21    ...   25    26      27 tokens in all

class Tokenizer:
    """Turns text into ids and back. It knows only the documents' characters.

    >>> tokenizer = Tokenizer(["abcdefghijklmnopqrstuvwxyz"])
    >>> tokenizer.encode("ava")
    [0, 21, 0]
    >>> tokenizer.decode([0, 21, 0])
    'ava'
    """

    def __init__(self, documents):
        self.chars = sorted(set("".join(documents)))
        self.ids = {char: i for i, char in enumerate(self.chars)}
        self.BOS = len(self.chars)
        self.vocab_size = len(self.chars) + 1

    def encode(self, text):
        """Return the ids of the characters in a text."""
        unknown = [char for char in text if char not in self.ids]
        assert not unknown, f"{unknown} in {text!r}: not in the vocabulary"
        return [self.ids[char] for char in text]

    def decode(self, ids):
        """Return the text for these ids (none may be BOS)."""
        return "".join(self.chars[i] for i in ids)


# ------------------------------------------------------------------------------------
# 3. GPT: from the tokens so far to a score for each possible next token
#
# A vector is a list of Values, and a matrix is a list of vectors, called its rows. We
# write [16] for a vector of 16 numbers and [27][16] for a matrix of 27 rows of 16. The
# model reads one token at a time. Here it has read BOS and "a", and is reading "v":
#
#              "v" has id 21       at position 2
#                    |                   |
#              row 21 of wte       row 2 of wpe      what it is, and where: [16] each
#                    \___________________/
#                              |
#                        add, rmsnorm
#                              |
#            .-                x_________            [16], the vector of this token
#            |                 |         |
#            |              rmsnorm      |
#            |             attention     |           gathers from BOS, "a", and "v"
#            |                 |         |
#      one   |                add <------'           x + what was gathered: [16]
#     block  |                 |_________
#            |                 |         |
#            |              rmsnorm      |
#            |                mlp        |           works on it: [16] -> [64] -> [16]
#            |                 |         |
#            '-               add <------'           x + the result: [16]
#                              |
#                           lm_head                  a matrix: [27][16]
#                              |
#                          27 logits                 the scores; "a" should win
#
# With n_layer = 2, a second block would follow the first.


# --- Small tools
#
# Parameters start out random, because equal rows with equal roles would stay equal
# forever. They start out small (two thirds are within 0.08 of 0), so no token is
# strongly favored. linear shows how well x matches each row of a matrix.

def random_matrix(rows, columns, rng):
    """Return a matrix of random parameters, drawn by rng, a random.Random."""
    return [[Value(rng.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]


def linear(x, matrix):
    """Return matrix times vector: the dot product of each row with x."""
    return [dot(row, x) for row in matrix]


def add(xs, ys):
    """Return the sum of two vectors, number by number."""
    return [x + y for x, y in zip(xs, ys)]


# --- rmsnorm: the same direction, but a standard size
#
#     x             30     40       mean square: (900 + 1600) / 2 = 1250, root: 35.36
#     x / 35.36     0.85   1.13     mean square: 1
#
# Every block adds to x, so in a deep model, x can grow and grow. That's why blocks read
# a rescaled copy, whose numbers are about 1 (RMSNorm: Zhang and Sennrich, 2019). Adding
# 1e-5 avoids dividing by 0.

def rmsnorm(x):
    """Return x divided by its root mean square."""
    mean_square = dot(x, x) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [number * scale for number in x]


# --- Embedding: from a token and its position to a vector
#
# wte has a row of parameters for every token, and wpe has one for every position (the
# names are GPT-2's). A single number could only line the letters up. Sixteen leave room
# for many properties at once, and training decides which ones.
#
# Why add the two rows? With 10, 20, 30 for tokens and 1, 2, 3 for positions, a sum of
# 23 can only be token 20 at position 3. Training can keep the two apart much the same
# way, and x stays at 16 numbers. Without positions, the order of earlier tokens would
# be lost, because attention adds up their values: a single block couldn't tell "mar"
# from "amr".
#
# Why normalize here? A block reads a rescaled copy, but adds to x itself. In a new
# model, the numbers in the sum are about 0.1, and the block adds random ones of about
# 0.15. Rescaled to about 1, x stands out from that noise.

def embed(token, position, wte, wpe):
    """Return the vector of a token at a position: [16]."""
    return rmsnorm(add(wte[token], wpe[position]))


# --- softmax: from scores to probabilities
#
#     score             0       2       1
#     exp(score)        1       7.39    2.72     sum: 11.11
#     exp / 11.11       0.09    0.67    0.24     sum: 1
#
# A matrix can give any scores, even negative ones. Probabilities can't be negative, and
# they add up to 1. exp makes every score positive (each extra point multiplies by e =
# 2.72), and dividing by the sum does the rest. Subtracting the largest score first
# prevents overflow. It divides every exp by the same number, which cancels out.

def softmax(scores):
    """Return probabilities, one for each score."""
    largest = max(score.data for score in scores)
    exps = [(score - largest).exp() for score in scores]
    scale = 1 / sum(exps)
    return [e * scale for e in exps]


# --- Attention, one head: a token gathers what it needs from the tokens so far
#
# Each token has a query (what it looks for), a key (what it can be found by), and a
# value (what it offers; not the class). Here "v" asks, and BOS, "a", and "v" answer:
#
#     query of "v":   2 0 1 0
#
#     token    key        match            / sqrt(4)    weight    value
#     BOS      0 1 0 2    2*0 + 1*0 = 0    0            0.09      1 0 0  0
#     "a"      1 0 2 1    2*1 + 1*2 = 4    2            0.67      0 1 0 -1
#     "v"      1 1 0 0    2*1 + 1*0 = 2    1            0.24      0 0 1  0
#                                          sum of weight * value: 0.09 0.67 0.24 -0.67
#
# A match is the dot product of query and key, and softmax turns the matches into
# weights. At position 0, BOS finds only itself, with weight 1.
#
# Why the root? In a new model, a match adds up n products (here, 4) of random sign.
# Like heads minus tails in n coin tosses, it grows as sqrt(n), so we divide by that.
# Large scores are bad for learning: 20 and 0 give weights of nearly 1 and 0, which
# hardly change when a score does. With slopes near 0, queries and keys barely learn.
# (Heads of 4 numbers do as well without the root: README.md.)

def attend(query, keys, values):
    """Return the sum of the values, weighted by how well their keys match."""
    matches = [dot(query, key) for key in keys]
    weights = softmax([match / len(query) ** 0.5 for match in matches])
    result = []
    for i in range(len(query)):
        numbers = [value[i] for value in values]  # one number of each value
        result.append(dot(weights, numbers))
    return result


# --- Attention, all heads
#
#              head 0    head 1    head 2    head 3
#     query    q q q q | q q q q | q q q q | q q q q      of the newest token
#     keys     k k k k | k k k k | k k k k | k k k k      of every token so far
#     values   v v v v | v v v v | v v v v | v v v v      of every token so far
#
# Each head has its own weights, so "v" can gather one thing from "a" and another from
# BOS. More heads don't need more parameters, because the matrices are [16][16] anyway.
# Nobody decides what queries, keys, and values contain. Training finds what works.
#
#     after reading    keys and values are those of
#     BOS              BOS
#     "a"              BOS, "a"
#     "v"              BOS, "a", "v"
#
# No token sees the future, because later tokens haven't been read yet. So a key or a
# value depends only on its own token and earlier ones, and it never has to be computed
# again. The two lists are called the KV cache. Gradients flow through it as usual.

def attention(x, block, keys, values, n_head):
    """Let a token gather from all tokens so far, itself included: [16] -> [16]."""
    query = linear(x, block["wq"])
    keys.append(linear(x, block["wk"]))
    values.append(linear(x, block["wv"]))
    head_dim = len(x) // n_head
    gathered = []
    for start in range(0, len(x), head_dim):
        part = slice(start, start + head_dim)  # the numbers of this head
        head_keys = [key[part] for key in keys]
        head_values = [value[part] for value in values]
        gathered += attend(query[part], head_keys, head_values)
    return linear(gathered, block["wo"])  # mixes the heads


# --- MLP ("multi-layer perceptron"): a token works on what it has gathered
#
#     x [16]  --fc1-->  64 matches  --relu-->  64 numbers, many 0  --fc2-->  [16]
#
# Each row of fc1 (fc: fully connected) is a pattern that x may match, and ReLU turns a
# mismatch into 0. fc2 turns the matches back into 16 numbers, so they can be added to
# x. More patterns can tell more cases apart; four times the width is customary. Without
# ReLU, two matrices could do no more than one, just as 3 * (2 * x) is only 6 * x.

def mlp(x, block):
    """Return what the MLP adds to x: [16] -> [64] -> [16]."""
    hidden = [match.relu() for match in linear(x, block["fc1"])]
    return linear(hidden, block["fc2"])


# --- The block: attention and MLP, each with a residual connection
#
# A block adds to x instead of replacing it, so it never has to rebuild what x holds.
# And gradients survive many blocks, because the slope of x + f(x) is 1 plus that of f.
# For example, if f has a slope of 0.1 in each of ten blocks:
#
#     with f(x) alone    0.1 ** 10 = 0.0000000001
#     with x + f(x)      1.1 ** 10 = 2.59

def apply_block(x, block, keys, values, n_head):
    """Return x with what attention and the MLP add to it: [16] -> [16]."""
    x = add(x, attention(rmsnorm(x), block, keys, values, n_head))
    x = add(x, mlp(rmsnorm(x), block))
    return x


def random_block(n_embd, rng):
    """Return the matrices of a block. (w is for weights, which means parameters.)"""
    return {
        "wq": random_matrix(n_embd, n_embd, rng),  # [16][16] makes queries
        "wk": random_matrix(n_embd, n_embd, rng),  # [16][16] makes keys
        "wv": random_matrix(n_embd, n_embd, rng),  # [16][16] makes values
        "wo": random_matrix(n_embd, n_embd, rng),  # [16][16] mixes the heads
        "fc1": random_matrix(4 * n_embd, n_embd, rng),  # [64][16]
        "fc2": random_matrix(n_embd, 4 * n_embd, rng),  # [16][64]
    }


# --- The model: 4,192 parameters and the formula
#
#     wte 27 * 16  +  wpe 16 * 16  +  lm_head 27 * 16             =  1,120
#     wq, wk, wv, wo: 4 * 16 * 16  +  fc1, fc2: 2 * 64 * 16       =  3,072    sum: 4,192
#
# GPT-2 follows the same plan, with up to 1.5 billion parameters (README.md lists the
# differences). In a second block, a token could use what others gathered in the first.

class GPT:
    """The parameters, and the formula from tokens to scores."""

    def __init__(self, vocab_size, n_layer, n_embd, n_head, block_size, rng):
        assert n_embd % n_head == 0, f"n_head {n_head} must divide n_embd {n_embd}"
        self.n_head = n_head
        self.block_size = block_size
        self.wte = random_matrix(vocab_size, n_embd, rng)  # [27][16]
        self.wpe = random_matrix(block_size, n_embd, rng)  # [16][16]
        self.lm_head = random_matrix(vocab_size, n_embd, rng)  # [27][16]
        self.blocks = [random_block(n_embd, rng) for _ in range(n_layer)]
        matrices = [self.wte, self.wpe, self.lm_head]
        for block in self.blocks:
            matrices.extend(block.values())
        self.params = []
        for matrix in matrices:
            for row in matrix:
                self.params.extend(row)

    def new_cache(self):
        """Return an empty KV cache: two lists per block, for keys and values."""
        return [([], []) for _ in self.blocks]

    def forward(self, token, position, cache):
        """Read one more token; return the logits, the scores for the next: [27]."""
        x = embed(token, position, self.wte, self.wpe)
        for block, (keys, values) in zip(self.blocks, cache):
            x = apply_block(x, block, keys, values, self.n_head)
        # The language-model head asks every token: do you come next? GPT-2 asks with
        # wte, which saves parameters. Here, a matrix that is free to differ from wte
        # does better. x isn't rescaled (GPT-2 does), so a larger x means a surer guess.
        return linear(x, self.lm_head)


# ------------------------------------------------------------------------------------
# 4. Training: make the right next token more likely
#
# The loss of a guess is -log(p), called cross-entropy, where p is the probability the
# model gave the token that really came next:
#
#     p          1      0.5     1/27    0.01
#     -log(p)    0      0.69    3.30    4.61     being confidently wrong costs most
#
# Why the log? A whole name's probability is the product of its p's, and the log turns
# that into a sum. So a low loss means that real names are likely. Here are some mean
# losses on held-out names:
#
#     3.30    blind guessing, 1/27 for each token: a new model starts near this
#     2.46    counting how often one letter follows another, in 29,393 names
#     2.35    this model after 1,000 names
#     0       out of reach: "mar" leads to "y" in one name and "k" in another
#
# exp(2.35) = 10.5, so the guesses are as good as choosing among 10.5 equally likely
# tokens. This is nearly the perplexity, which averages over tokens instead of names.


# --- The loss of a document, such as "ava"
#
#     position    reads       should guess
#     0           26  BOS      0  "a"
#     1            0  "a"     21  "v"
#     2           21  "v"      0  "a"          (earlier tokens are in the cache)
#     3            0  "a"     26  BOS          so the model learns where names end
#
# The loss is the mean over the rows, so every name counts the same. With a sum, every
# token would, and long names would move the parameters more.

def document_loss(model, tokenizer, document):
    """Return the mean loss of the guesses for a document: a Value.

    Only the first block_size characters of a document are guessed.
    """
    tokens = [tokenizer.BOS] + tokenizer.encode(document) + [tokenizer.BOS]
    tokens = tokens[:model.block_size + 1]
    cache = model.new_cache()
    losses = []
    for position in range(len(tokens) - 1):
        logits = model.forward(tokens[position], position, cache)
        probs = softmax(logits)
        p = probs[tokens[position + 1]]
        # If p were much smaller, the slope of the log, 1 / p, would overflow.
        assert p.data > 1e-300, f"p is {p.data}: lower learning_rate or undo edits"
        losses.append(-p.log())
    return sum(losses) / len(losses)


def mean_loss(model, tokenizer, documents):
    """Return the mean loss of documents, a float, without learning from them."""
    total = 0.0
    for document in documents:
        start = len(tape)
        total += document_loss(model, tokenizer, document).data
        del tape[start:]  # no backward() will need these Values
    return total / len(documents)


# --- Adam: how far to move each parameter
#
# The simplest rule, gradient descent, is p.data -= rate * p.grad. But then one rate has
# to suit gradients large and small, and names pull in different directions. Adam
# (Kingma and Ba, 2015) keeps two running averages for every parameter: m, the average
# gradient, and v, the average square. Squares can't cancel out, so sqrt(v) is the usual
# size of a gradient. The move is rate * m / sqrt(v). After many steps:
#
#     gradients                     m       sqrt(v)    m / sqrt(v)
#     5, 5, 5, ...                  5       5          1       they agree
#     0.1, 0.1, 0.1, ...            0.1     0.1        1       small ones count as much
#     -5, 5, -5, 5, ...             0.41    5          0.08    they nearly cancel out
#     5, 5, 5, ..., then ten 0s     0.98    4.75       0.21    it coasts to a stop
#
# The last case is a letter missing from ten names. Its row of wte gets gradients of 0,
# but m takes a while to fade. (Its row of lm_head still learns, because its score is
# in every softmax.)
#
# Each step keeps 0.85 of m and adds 0.15 of the gradient. m starts at 0, so at first it
# is too small: 0.15 of the gradient after one step, 0.15 * 0.85 + 0.15 = 0.2775 of it
# after two, which is 1 - 0.85 ** 2. Dividing by this share corrects that bias;
# v is corrected with 0.99 in the same way.

def adam_step(params, m, v, step, rate):
    """Move every parameter against its average gradient; step counts from 1."""
    m_share = 1 - beta1 ** step
    v_share = 1 - beta2 ** step
    for i, p in enumerate(params):
        m[i] = beta1 * m[i] + (1 - beta1) * p.grad  # average gradient
        v[i] = beta2 * v[i] + (1 - beta2) * p.grad * p.grad  # average square
        m_hat = m[i] / m_share
        v_hat = v[i] / v_share
        p.data -= rate * m_hat / (math.sqrt(v_hat) + 1e-8)  # never divide by 0


# --- The training loop: forward, backward, move, repeat
#
# One name per step is quick but noisy. Some names are harder than others, so the loss
# jumps around. Even a row's mean of a hundred depends on luck: the last hundred happen
# to be harder than the held-out names. A batch (the mean loss of several names) would
# make steps steadier but slower.

def train(model, tokenizer, documents, num_steps, learning_rate):
    """Fit the model to one document per step, and report progress."""
    m = [0.0] * len(model.params)
    v = [0.0] * len(model.params)
    losses = []
    tenth = math.ceil(num_steps / 10)
    rng = random.Random(seed)  # separate, so rows affect nothing else
    began = time.time()

    for step in range(1, num_steps + 1):
        # Forward: how wrong are the guesses for one document?
        document = documents[(step - 1) % len(documents)]
        loss = document_loss(model, tokenizer, document)
        losses.append(loss.data)

        # Backward: which way should each parameter move? backward() adds to grad, so
        # reset the parameters first. All other Values are new.
        for p in model.params:
            p.grad = 0.0
        loss.backward()

        # Move. Large moves help at first. Later, they'd let each name yank the
        # parameters too far, so the rate falls toward 0.
        rate = learning_rate * (1 - (step - 1) / num_steps)
        adam_step(model.params, m, v, step, rate)

        if step == 1 or step % tenth == 0 or step == num_steps:
            recent = losses[-tenth:]
            mean = sum(recent) / len(recent)
            bar = "#" * min(22, round(6 * mean))
            left = (time.time() - began) / step * (num_steps - step)
            name = generate(model, tokenizer, "", temperature, rng)
            row = f"step {step:6}  loss {mean:.4f}  {bar:22}{left:5.0f} s left  {name}"
            print(row, flush=True)


# ------------------------------------------------------------------------------------
# 5. Sampling: draw a token, read it, draw the next
#
# We divide the scores by the temperature before softmax. For scores of 2 and 0:
#
#     temperature    scores    probabilities
#     0.5            4, 0      0.98, 0.02     careful
#     1              2, 0      0.88, 0.12     as trained
#     2              1, 0      0.73, 0.27     daring
#     0                                       always the likeliest token, no draw
#
# The model stays the same from name to name; the luck of the draw doesn't. A name ends
# when BOS is drawn, or after 16 letters (block_size), one more than the file's longest
# name has. After python -i microgpt.py, try:
#
#     generate(model, tokenizer, "em", 0.5)     usually a new name
#     generate(model, tokenizer, "em", 0)       the same name each time

def generate(model, tokenizer, prompt, temperature, rng=random):
    """Return the prompt, continued with tokens that rng draws."""
    limit = model.block_size - 1  # BOS takes one place
    assert len(prompt) <= limit, f"prompt of {len(prompt)} characters; {limit} fit"
    tokens = [tokenizer.BOS] + tokenizer.encode(prompt)
    cache = model.new_cache()
    start = len(tape)
    for position in range(model.block_size):
        logits = model.forward(tokens[position], position, cache)
        if position < len(prompt):
            continue  # the next token is known: it is in the prompt
        if temperature == 0:
            scores = [logit.data for logit in logits]
            token = scores.index(max(scores))
        else:
            probs = softmax([logit / temperature for logit in logits])
            weights = [p.data for p in probs]
            token = rng.choices(range(len(weights)), weights)[0]
        if token == tokenizer.BOS:
            break
        tokens.append(token)
    # No backward() will need these Values. Keeping them would only waste memory.
    del tape[start:]
    return tokenizer.decode(tokens[1:])


# ------------------------------------------------------------------------------------
# 6. The run: read, train, test, invent

def read_documents(path):
    """Return the lines of a UTF-8 text file, without blanks or repeats."""
    with open(path, encoding="utf-8-sig") as file:  # -sig drops a byte-order mark
        lines = [line.strip() for line in file]
    documents = [line for line in dict.fromkeys(lines) if line]
    assert documents, f"{path} has no text: put one document on each line"
    return documents


def describe(documents, num_training, model, tokenizer):
    """Print what the run is about to use."""
    reads = f"{num_steps:,} of them read"
    if num_steps > num_training:
        reads = f"each read {num_steps / num_training:,.1f} times"
    num_test = len(documents) - num_training
    examples = ", ".join(documents[:3])[:48]
    alphabet = "".join(tokenizer.chars)[:48]
    print(f"documents   {len(documents):,}, such as {examples}")
    print(f"tokens      {tokenizer.vocab_size:,}: BOS and {alphabet}")
    print(f"parameters  {len(model.params):,}")
    print(f"training    {num_training:,} ({reads}); held out: {num_test}")
    longest = max(len(document) for document in documents)
    if longest >= block_size:
        num_cut = sum(len(document) >= block_size for document in documents)
        advice = "one document per line"
        if longest < 300:
            advice = f"block_size = {longest + 1}"
        print(f"too long    {num_cut:,}, cut to {block_size} characters; try {advice}")


# The run is outside any function, so that python -i has the model even after Ctrl-C.
if __name__ == "__main__":
    # CPython's garbage collector looks for objects that refer to each other in a cycle.
    # We make none, and looking can take a fifth of the time.
    if sys.implementation.name == "cpython":
        gc.disable()

    # If you type "import microgpt" after python -i, you get this program, not a copy.
    sys.modules["microgpt"] = sys.modules["__main__"]

    # The file begins with the most popular names. Without shuffling, the model would
    # train on those and be tested on the rarest.
    rng = random.Random(seed)
    documents = read_documents(input_file)
    rng.shuffle(documents)
    num_training = len(documents) - min(num_held_out, len(documents) // 10)
    training = documents[:num_training]
    held_out = documents[num_training:]
    tokenizer = Tokenizer(documents)
    model = GPT(tokenizer.vocab_size, n_layer, n_embd, n_head, block_size, rng)
    blind = math.log(tokenizer.vocab_size)
    describe(documents, num_training, model, tokenizer)
    print(f"Blind guessing has a loss of {blind:.3f}. Ctrl-C ends training early.")

    try:
        train(model, tokenizer, training, num_steps, learning_rate)
    except KeyboardInterrupt:
        print("\ntraining ended early; the model keeps what it learned")

    # A model that had only memorized names would do badly on those it never saw.
    if held_out:
        print("testing on the held-out documents ...", flush=True)
        loss = mean_loss(model, tokenizer, held_out)
        print(f"held-out loss {loss:.3f}; blind guessing {blind:.3f}")

    # A real name (*) need not be a copy. In the default run, none of the 20 is among
    # the 1,000 names that the model was trained on.
    print(f"invented by the model (* = also in {input_file}):")
    columns = max(1, 79 // (block_size + 3))
    for i in range(1, num_samples + 1):
        name = generate(model, tokenizer, "", temperature, rng)
        if name in documents:
            name += "*"
        end = "\n" if i % columns == 0 or i == num_samples else ""
        print(f"{name:{block_size + 3}}", end=end, flush=True)

    # The model is lost when Python exits. README.md shows how to save it.
    print('More: python -i microgpt.py, then generate(model, tokenizer, "", 0.5)')

# Experiments, and what to expect:
#
#     num_steps = 100             held-out loss 2.517: most is learned early
#     num_steps = 5000            2.273: more names help, but less and less
#     learning_rate = 0.1         the loss jumps around: every name overshoots
#     n_head = 1                  2.348, the same 4,192 parameters: one head is enough
#     temperature = 2             daring names, some of them cut off at 16 letters
#     input.txt cut to 10 lines   13.1: it memorizes 9 names, and the 10th is a shock
