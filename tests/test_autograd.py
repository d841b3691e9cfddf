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
    ("exp", lambda a: a.exp(), math.exp, ANY),
    ("log", lambda a: a.log(), math.log, POSITIVE),
    ("relu", lambda a: a.relu(), lambda a: max(a, 0.0), ANY),
    # starts with 0 + a: an int on the left
    ("sum", lambda a, b: sum([a, b, a]), None, PAIRS),
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
                    self.assertAlmostEqual(
                        result, (floats or operation)(
                            *point), places=12)

    def test_gradients(self):
        """Every operation's gradient, in either order of its operands, is its measured
        slope."""
        for name, operation, _, points in OPERATIONS:
            for point in points:
                with self.subTest(name, point=point):
                    check_gradients(self, operation, point)

    def test_check_can_fail(self):
        """Negative control: a slope that is wrong by a thousandth does not pass the
        check."""
        def wrong(value):
            return Value(math.exp(value.data), (value,),
                         (math.exp(value.data) * 1.001,))
        with mock.patch.object(Value, "exp", wrong), self.assertRaises(AssertionError):
            check_gradients(self, lambda a: a.exp(), (0.5,))

    def test_relu_is_flat_at_0(self):
        """ReLU's slope is 0 for negatives and at 0 itself, where it has a corner, and 1
        above."""
        slopes = [gradients(Value.relu, [x])[0] for x in (-2.0, 0.0, 1e-9, 2.0)]
        self.assertEqual(slopes, [0, 0, 1, 1])

    def test_relu_hides_no_nan(self):
        """ReLU hands a nan on: a training that broke down is noticed."""
        self.assertTrue(math.isnan(Value(math.nan).relu().data))

    def test_repr(self):
        """A Value shows its number and its gradient."""
        value = Value(0.5)
        value.grad = -3.0
        self.assertEqual(repr(value), "Value(data=0.5, grad=-3.0)")

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
        """On the tape every input stands before its results, so reading backwards
        suffices."""
        (Value(2.0) * Value(3.0) - Value(1.0).exp() / 7).relu()
        place = {id(value): i for i, value in enumerate(tape)}
        for node in tape:
            for value in node.inputs:
                self.assertLess(place.get(id(value), -1), place[id(node)])

    def test_what_is_on_the_tape(self):
        """Computed Values join the end of the tape as they are made; parameters never
        do."""
        tape.clear()
        parameter = Value(2.0)
        first = parameter * 3
        second = first.exp()
        self.assertEqual(tape, [first, second])

    def test_tape_is_empty_afterwards(self):
        """backward() leaves the tape empty, so that the graph's memory is given back.
        """
        (Value(2.0) * 3 + 1).backward()
        self.assertEqual(tape, [])

    def test_second_backward(self):
        """A second backward() raises, says why, and changes no gradient."""
        a = Value(2.0)
        result = a * 3
        result.backward()
        why = "nothing on the tape made this Value: compute it again"
        with self.assertRaisesRegex(RuntimeError, why):
            result.backward()
        self.assertEqual(a.grad, 3)

    def test_cleared_tape(self):
        """After tape.clear() a result cannot be walked back from; the parameters live
        on."""
        a = Value(2.0)
        result = a * 3
        tape.clear()
        self.assertRaises(RuntimeError, result.backward)
        (a * 4).backward()
        self.assertEqual(a.grad, 4)

    def test_not_computed(self):
        """A Value that was not computed has nothing to walk back to, and says so."""
        self.assertRaises(RuntimeError, Value(1.0).backward)

    def test_refused_backward_keeps_the_tape(self):
        """A refused backward() leaves the graph alone that is now on the tape."""
        gone = Value(1.0)
        a = Value(2.0)
        result = a * 3
        self.assertRaises(RuntimeError, gone.backward)
        result.backward()
        self.assertEqual(a.grad, 3)

    def test_a_float_has_forgotten(self):
        """A Value keeps the Values it was made from; its slopes are those of the
        operation."""
        a, b = Value(2.0), Value(5.0)
        product = a * b
        self.assertEqual((product.inputs, product.local_grads), ((a, b), (5.0, 2.0)))

    def test_constants_are_inputs(self):
        """A plain number in a formula becomes a Value that was not computed."""
        constant = (Value(2.0) + 7).inputs[1]
        self.assertEqual((constant.data, constant.inputs), (7, ()))

    def test_later_values(self):
        """What was computed from the result afterwards gets no gradient."""
        a = Value(2.0)
        result = a * 3
        later = result * 5
        result.backward()
        self.assertEqual((a.grad, later.grad), (3, 0))

    def test_grads_add_up(self):
        """Gradients of two graphs add up until they are set to 0, as train() does each
        step."""
        a = Value(2.0)
        (a * 3).backward()
        (a * 4).backward()
        self.assertEqual(a.grad, 7)

    def test_new_values_have_no_gradient(self):
        """Before any backward() a gradient is 0."""
        self.assertEqual((Value(2.0) * 3).grad, 0)

    def test_abandoned_forward_pass(self):
        """A result that is computed and then dropped does not disturb the next
        gradients."""
        a = Value(2.0)
        (a * 3).exp()  # on the tape, never walked
        (a * 5).backward()
        self.assertEqual(a.grad, 5)

    def test_nothing_to_pass_on(self):
        """A node the result does not use passes nothing on, even where its slope is
        infinite."""
        a = Value(2.0)
        a * math.inf  # its gradient is 0, and 0 * inf would be nan
        (a * 3).backward()
        self.assertEqual(a.grad, 3)


class Dot(unittest.TestCase):
    def test_value(self):
        """dot gives the number of the long way, one * and one + at a time."""
        xs, ys = [Value(x) for x in (2.0, -1.0, 0.5)], [Value(y)
                                                        for y in (3.0, 4.0, -6.0)]
        self.assertEqual(dot(xs, ys).data, long_way(xs, ys).data)
        self.assertEqual(dot(xs, ys).data, -1)

    def test_gradients(self):
        """dot gives every gradient of the long way."""
        point = [2.0, -1.0, 0.5, 3.0, 4.0, -6.0]
        self.assertEqual(gradients(lambda *v: dot([*v[:3]], [*v[3:]]) ** 2, point),
                         gradients(lambda *v: long_way(v[:3], v[3:]) ** 2, point))

    def test_with_itself(self):
        """dot(x, x), as in rmsnorm, has the slope 2x: both sides count."""
        self.assertEqual(
            gradients(lambda *x: dot(list(x), list(x)), [3.0, -5.0]), [6, -10])

    def test_one_node(self):
        """dot costs one node, whatever the length; the long way two per term: why it is
        fast."""
        xs = [Value(float(i)) for i in range(8)]
        before = len(tape)
        dot(xs, xs)
        self.assertEqual(len(tape) - before, 1)

    def test_lengths(self):
        """dot refuses vectors of different lengths, where zip would drop the rest in
        silence."""
        for n, m in ((2, 3), (3, 2)):
            with self.assertRaisesRegex(ValueError, rf"\b{n}\b.*\b{m}\b"):
                dot([Value(1.0)] * n, [Value(1.0)] * m)


if __name__ == "__main__":
    unittest.main()
