"""Section 1 of microgpt.py: Value, the tape, backward() and dot."""
import math
import unittest
from unittest import mock

from microgpt import Value, dot, tape
from tests.helpers import check_gradients, gradients

# Name, the operation on Values, the same on floats, and the points to try it at.
PAIRS = [(2.0, 3.0), (-1.5, 0.5), (0.25, -4.0), (-2.0, -0.75)]
ANY = [(2.0,), (-1.5,), (0.25,), (-0.75,)]
POSITIVE = [(2.0,), (0.5,), (0.25,), (7.0,)]
OPERATIONS = [
    ("a + b", lambda a, b: a + b, None, PAIRS),
    ("a + 3", lambda a: a + 3, None, ANY),
    ("3 + a", lambda a: 3 + a, None, ANY),
    ("a - b", lambda a, b: a - b, None, PAIRS),
    ("a - 3", lambda a: a - 3, None, ANY),
    ("3 - a", lambda a: 3 - a, None, ANY),
    ("a * b", lambda a, b: a * b, None, PAIRS),
    ("a * 3", lambda a: a * 3, None, ANY),
    ("3 * a", lambda a: 3 * a, None, ANY),
    ("a / b", lambda a, b: a / b, None, PAIRS),
    ("a / 3", lambda a: a / 3, None, ANY),
    ("3 / a", lambda a: 3 / a, None, ANY),
    ("-a", lambda a: -a, None, ANY),
    ("a ** 3", lambda a: a ** 3, None, ANY),
    ("a ** -1", lambda a: a ** -1, None, ANY),
    ("a ** 0.5", lambda a: a ** 0.5, None, POSITIVE),
    ("3 ** a", lambda a: 3 ** a, None, ANY),
    ("0.5 ** a", lambda a: 0.5 ** a, None, ANY),
    ("exp", lambda a: a.exp(), math.exp, ANY),
    ("log", lambda a: a.log(), math.log, POSITIVE),
    ("relu", lambda a: a.relu(), lambda a: max(a, 0.0), ANY),
    ("sum", lambda a, b: sum([a, b, a]), None, PAIRS),  # starts with 0 + a: an int on the left
    ("mixed", lambda a, b: (a * b).exp() / (a ** 2 + 1) - b.relu() * a, lambda a, b:
     math.exp(a * b) / (a ** 2 + 1) - max(b, 0) * a, PAIRS),
]


def long_way(xs, ys):
    """The same as dot, one node for every + and *."""
    return sum(x * y for x, y in zip(xs, ys))


class Operations(unittest.TestCase):
    def test_values(self):
        """Every operation gives the number that plain floats give."""
        for name, operation, floats, points in OPERATIONS:
            for point in points:
                with self.subTest(name, point=point):
                    result = operation(*map(Value, point)).data
                    self.assertAlmostEqual(result, (floats or operation)(*point), places=12)

    def test_gradients(self):
        """Every operation's gradient, in either order of its operands, is its measured slope."""
        for name, operation, _, points in OPERATIONS:
            for point in points:
                with self.subTest(name, point=point):
                    check_gradients(self, operation, point)

    def test_check_can_fail(self):
        """Negative control: a slope that is wrong by a thousandth does not pass the check."""
        def wrong(value):
            return Value(math.exp(value.data), (value,), (math.exp(value.data) * 1.001,))
        with mock.patch.object(Value, "exp", wrong), self.assertRaises(AssertionError):
            check_gradients(self, lambda a: a.exp(), (0.5,))

    def test_relu_is_flat_at_0(self):
        """ReLU's slope is 0 for negatives and at 0 itself, where it has a corner, and 1 above."""
        slopes = [gradients(Value.relu, [x])[0] for x in (-2.0, 0.0, 1e-9, 2.0)]
        self.assertEqual(slopes, [0, 0, 1, 1])

    def test_root_of_negative(self):
        """A root of a negative number is an error, not a complex number that travels on."""
        with self.assertRaises(TypeError):
            Value(-2.0) ** 0.5

    def test_floats_of_ints(self):
        """A power and a ReLU of ints are floats, as those of a trained model are."""
        results = [Value(2) ** 2, Value(-2).relu()]
        self.assertEqual({type(result.data) for result in results}, {float})

    def test_repr(self):
        """A Value shows its number and its gradient to six digits."""
        value = Value(1 / 3)
        value.grad = 200 / 3
        self.assertEqual(repr(value), "Value(data=0.333333, grad=66.6667)")

    def test_no_dict(self):
        """A Value carries no dict, only its four slots: smaller and faster."""
        self.assertFalse(hasattr(Value(1.0), "__dict__"))
        with self.assertRaises(AttributeError):
            Value(1.0).gradient = 0  # and a misspelt name is noticed


class Backward(unittest.TestCase):
    def test_used_twice(self):
        """A value used twice collects the gradients of both uses: hence +=."""
        self.assertEqual(gradients(lambda a: a + a, [3.0]), [2])
        self.assertEqual(gradients(lambda a: a * a, [3.0]), [6])

    def test_diamond(self):
        """Two ways from a to the result, d = 2a * 3a, add up to the slope 12a."""
        self.assertEqual(gradients(lambda a: (a * 2) * (a * 3), [5.0]), [60])

    def test_diamond_on_diamond(self):
        """Every node is walked once, though 50 doublings make 2 ** 50 paths."""
        def doubled(a):
            for _ in range(50):
                a = a + a
            return a
        self.assertEqual(gradients(doubled, [1.0]), [2 ** 50])

    def test_deep(self):
        """A graph 10,000 operations deep needs no recursion."""
        def deep(a):
            for _ in range(10_000):
                a = a + 0.5
            return a * 7
        self.assertEqual(gradients(deep, [1.0]), [7])

    def test_root(self):
        """The result itself has the gradient 1, whatever its grad held before."""
        result = Value(2.0) * 3
        result.grad = 5.0
        result.backward()
        self.assertEqual(result.grad, 1)

    def test_order_of_the_tape(self):
        """On the tape every input stands before its results, so reading backwards suffices."""
        (Value(2.0) * Value(3.0) - Value(1.0).exp() / 7).relu()
        place = {id(value): i for i, value in enumerate(tape)}
        for node in tape:
            for value in node.inputs:
                self.assertLess(place.get(id(value), -1), place[id(node)])

    def test_every_value_is_on_the_tape(self):
        """A Value joins the end of the tape as it is made."""
        value = Value(2.0)
        self.assertIs(tape[-1], value)

    def test_tape_is_empty_afterwards(self):
        """backward() leaves the tape empty, so that the graph's memory is given back."""
        (Value(2.0) * 3 + 1).backward()
        self.assertEqual(tape, [])

    def test_second_backward(self):
        """A second backward() raises rather than adding the gradients a second time, or none."""
        a = Value(2.0)
        result = a * 3
        result.backward()
        self.assertRaises(RuntimeError, result.backward)
        self.assertEqual(a.grad, 3)

    def test_refused_backward_keeps_the_tape(self):
        """A refused backward() leaves the graph alone that is now on the tape."""
        gone = Value(1.0)
        gone.backward()
        a = Value(2.0)
        result = a * 3
        self.assertRaises(RuntimeError, gone.backward)
        result.backward()
        self.assertEqual(a.grad, 3)

    def test_later_values(self):
        """What was computed from the result afterwards gets no gradient."""
        a = Value(2.0)
        result = a * 3
        later = result * 5
        result.backward()
        self.assertEqual((a.grad, later.grad), (3, 0))

    def test_grads_add_up(self):
        """Gradients of two graphs add up until they are set to 0, as train() does each step."""
        a = Value(2.0)
        (a * 3).backward()
        (a * 4).backward()
        self.assertEqual(a.grad, 7)

    def test_new_values_have_no_gradient(self):
        """Before any backward() a gradient is 0."""
        self.assertEqual((Value(2.0) * 3).grad, 0)

    def test_abandoned_forward_pass(self):
        """A result that is computed and then dropped does not disturb the next gradients."""
        a = Value(2.0)
        (a * 3).exp()  # on the tape, never walked
        (a * 5).backward()
        self.assertEqual(a.grad, 5)

    def test_interrupted_walk(self):
        """A walk that Ctrl-C cuts short leaves nothing behind on the tape."""
        class Trap(tuple):
            def __iter__(self):
                raise KeyboardInterrupt
        a = Value(2.0)
        result = Value(0.0, Trap([a]), (1.0,)) * 3
        self.assertRaises(KeyboardInterrupt, result.backward)
        self.assertEqual(tape, [])

    def test_nothing_to_pass_on(self):
        """A node the result does not use passes nothing on, even where its slope is infinite."""
        a = Value(2.0)
        a * math.inf  # its gradient is 0, and 0 * inf would be nan
        (a * 3).backward()
        self.assertEqual(a.grad, 3)


class Dot(unittest.TestCase):
    def test_value(self):
        """dot gives the number of the long way, one * and one + at a time."""
        xs, ys = [Value(x) for x in (2.0, -1.0, 0.5)], [Value(y) for y in (3.0, 4.0, -6.0)]
        self.assertEqual(dot(xs, ys).data, long_way(xs, ys).data)
        self.assertEqual(dot(xs, ys).data, -1)

    def test_gradients(self):
        """dot gives every gradient of the long way."""
        point = [2.0, -1.0, 0.5, 3.0, 4.0, -6.0]
        self.assertEqual(gradients(lambda *v: dot(v[:3], v[3:]) ** 2, point),
                         gradients(lambda *v: long_way(v[:3], v[3:]) ** 2, point))

    def test_with_itself(self):
        """dot(x, x), as in rmsnorm, has the slope 2x: both sides count."""
        self.assertEqual(gradients(lambda *x: dot(x, x), [3.0, -5.0]), [6, -10])

    def test_one_node(self):
        """dot costs one node, whatever the length; the long way two per term: why it is fast."""
        xs = [Value(float(i)) for i in range(8)]
        before = len(tape)
        dot(xs, xs)
        self.assertEqual(len(tape) - before, 1)

    def test_given_data(self):
        """x_data saves reading the numbers of xs again: they could be any, as the 0s here."""
        def given(*v):
            return dot(v[:2], v[2:], x_data=[2.0, 5.0])
        self.assertEqual(given(*map(Value, (0.0, 0.0, 3.0, 4.0))).data, 26)
        self.assertEqual(gradients(given, [0.0, 0.0, 3.0, 4.0]), [3, 4, 2, 5])

    def test_lengths(self):
        """dot refuses vectors of different lengths, where zip would drop the rest in silence."""
        for n, m in ((2, 3), (3, 2)):
            with self.assertRaisesRegex(AssertionError, rf"\b{n}\b.*\b{m}\b"):
                dot([Value(1.0)] * n, [Value(1.0)] * m)


if __name__ == "__main__":
    unittest.main()
