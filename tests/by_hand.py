"""The same model with gradients derived by hand, on lists of floats, without Value.

What autograd saves its user from writing, and what it costs: tests/test_gpt.py checks
that both give the same gradients, tests/speed.py compares the time.
"""
import math
from operator import mul


def dot(x, y):
    return sum(map(mul, x, y))


def add(x, y):
    return [a + b for a, b in zip(x, y)]


def linear(x, w):
    return [dot(row, x) for row in w]


def linear_back(x, slopes, columns, grads):
    """Add to grads, the gradients of w, and return those of x; columns are those of w.
    """
    for i, slope in enumerate(slopes):
        if slope:
            grads[i] = [g + slope * a for g, a in zip(grads[i], x)]
    return [dot(column, slopes) for column in columns]


def norm(x):
    scale = (dot(x, x) / len(x) + 1e-5) ** -0.5
    return [a * scale for a in x], scale


def norm_back(x, scale, slopes):
    shared = dot(x, slopes) * scale ** 3 / len(x)
    return [scale * slope - shared * a for a, slope in zip(x, slopes)]


def softmax(scores):
    """Return the probabilities and log(sum(exp(scores)))."""
    top = max(scores)
    exps = [math.exp(score - top) for score in scores]
    total = sum(exps)
    return [e / total for e in exps], top + math.log(total)


def zeros(matrix):
    return [[0.0] * len(matrix[0]) for _ in matrix]


def loss_and_grads(matrices, tokens, n_head):
    """Return the loss of a document and its gradients.

    matrices, and the gradients alike: wte, wpe, lm_head, then wq wk wv wo fc1 fc2 of
    each block.
    """
    wte, wpe, lm_head = matrices[:3]
    blocks = [matrices[i:i + 6] for i in range(3, len(matrices), 6)]
    n, width = min(len(tokens) - 1, len(wpe)), len(wte[0])
    head_dim = width // n_head
    root, heads = head_dim ** 0.5, [slice(h, h + head_dim)
                                    for h in range(0, width, head_dim)]
    keys, values = [[] for _ in blocks], [[] for _ in blocks]
    saved, loss = [], 0.0
    for t in range(n):  # forward, keeping what the way back needs
        embedded = add(wte[tokens[t]], wpe[t])
        x, scale = norm(embedded)
        layers = []
        for i, (wq, wk, wv, wo, fc1, fc2) in enumerate(blocks):
            a, a_scale = norm(x)
            q = linear(a, wq)
            keys[i].append(linear(a, wk))
            values[i].append(linear(a, wv))
            weights, out = [], []
            for head in heads:
                shares, _ = softmax([dot(q[head], key[head]) / root for key in keys[i]])
                weights.append(shares)
                out += [dot(shares, column)
                        for column in zip(*[v[head] for v in values[i]])]
            middle = add(x, linear(out, wo))
            b, b_scale = norm(middle)
            hidden = [h if h > 0 else 0.0 for h in linear(b, fc1)]
            layers.append((x, a, a_scale, q, weights, out, middle, b, b_scale, hidden))
            x = add(middle, linear(hidden, fc2))
        logits = linear(x, lm_head)
        probs, log_sum = softmax(logits)
        loss += log_sum - logits[tokens[t + 1]]
        saved.append((embedded, scale, layers, x, probs))
    grads = [zeros(matrix) for matrix in matrices]
    columns = [list(zip(*matrix)) for matrix in matrices]
    key_grads = [[[0.0] * width for _ in range(n)] for _ in blocks]
    value_grads = [[[0.0] * width for _ in range(n)] for _ in blocks]
    for t in reversed(range(n)):  # and back, the last token first
        embedded, scale, layers, x, slopes = saved[t]
        # the slope of -log softmax: probabilities minus one-hot
        slopes[tokens[t + 1]] -= 1.0
        dx = linear_back(x, [slope / n for slope in slopes], columns[2], grads[2])
        for i in reversed(range(len(blocks))):
            x, a, a_scale, q, weights, out, middle, b, b_scale, hidden = layers[i]
            wq, wk, wv, wo, fc1, fc2 = range(3 + 6 * i, 9 + 6 * i)
            dh = linear_back(hidden, dx, columns[fc2], grads[fc2])
            dh = [slope if h > 0 else 0.0 for slope, h in zip(dh, hidden)]
            dx = add(
                dx,
                norm_back(
                    middle,
                    b_scale,
                    linear_back(
                        b,
                        dh,
                        columns[fc1],
                        grads[fc1])))
            dout = linear_back(out, dx, columns[wo], grads[wo])
            dq = []
            for head, shares in zip(heads, weights):
                dw = [dot(dout[head], v[head]) for v in values[i]]
                mean = dot(shares, dw)
                ds = [share * (slope - mean) / root for share, slope in zip(shares, dw)]
                dq += [dot(ds, column) for column in zip(*[k[head] for k in keys[i]])]
                for u, (share, slope) in enumerate(zip(shares, ds)):
                    dv, dk = value_grads[i][u], key_grads[i][u]
                    dv[head] = [g + share * o for g, o in zip(dv[head], dout[head])]
                    dk[head] = [g + slope * c for g, c in zip(dk[head], q[head])]
            da = linear_back(a, dq, columns[wq], grads[wq])
            da = add(da, linear_back(a, key_grads[i][t], columns[wk], grads[wk]))
            da = add(da, linear_back(a, value_grads[i][t], columns[wv], grads[wv]))
            dx = add(dx, norm_back(x, a_scale, da))
        de = norm_back(embedded, scale, dx)
        grads[0][tokens[t]] = add(grads[0][tokens[t]], de)
        grads[1][t] = add(grads[1][t], de)
    return loss / n, grads
