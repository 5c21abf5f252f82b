"""The names that a statement binds, loads and changes."""

from __future__ import annotations

import ast

import pytest

from flujo_nb.exports.statement_names import Call, Names, names_of, renamed


def names_in(text: str, *, is_look: bool = False, annotations_are_text: bool = False) -> Names:
    [node] = ast.parse(text).body
    return names_of(node, text, is_look=is_look, annotations_are_text=annotations_are_text)


@pytest.mark.parametrize(
    ("text", "binds", "loads"),
    [
        ("x = a.b[c]", "x", "a c"),
        ("x, (y, *z) = a", "x y z", "a"),
        ("x += a", "x", "x a"),
        ("x: T = a", "x", "T a"),
        ("x[i] = a", "", "x i a"),
        ("del x", "", ""),
        ("for i in a: b(i)", "i", "a b i"),
        ("for i in a: b += i", "i b", "a b i"),
        ("with a as b, c: d", "b", "a c d"),
        ("if (w := a): b", "w", "a b"),
        ("x = [(w := i) for i in a if i > b]", "x w", "a b"),
        ("x = {k: v for k, v in a}", "x", "a"),
        ("try: a\nexcept E as e: b", "e", "E a b"),
        ("match a:\n    case P(x=y) if z: w = y", "y w", "a P z y"),
        ("@d(p)\ndef f(x: T = v, *, y=w) -> R: return g(x)", "f", "d p T v w R"),
        ("@d\nclass C(B, metaclass=M):\n    x: T = v\n    y = [x for x in z]", "C", "d B M T v z"),
        ("f = lambda x=v: g(x)", "f", "v"),
    ],
)
def test_what_a_statement_binds_and_loads(text: str, binds: str, loads: str) -> None:
    names = names_in(text)
    assert names.binds == set(binds.split())
    assert names.loads == set(loads.split())


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("def f(x):\n    y = g(x)\n    def inner(): return y + h\n    return inner", "g h"),
        ("f = lambda x: g(x) + h", "g h"),
        ("class C:\n    def m(self): return [g(i) for i in self.x]\n    x = 1", "g"),
        ("async def f():\n    async for i in g: yield i", "g"),
        ("def f():\n    import json\n    return json.dumps(x)", "x"),
    ],
)
def test_what_functions_need_when_they_are_called(text: str, later: str) -> None:
    assert names_in(text).later == set(later.split())


def test_a_global_that_a_function_binds_is_bound_when_it_is_called() -> None:
    names = names_in("def f():\n    global g\n    g = h")
    assert (names.binds, names.binds_later, names.later) == ({"f"}, {"g"}, {"h"})


def test_annotations_that_are_text_are_only_hints() -> None:
    text = "def f(x: T, y: 'list[U]') -> R:\n    z: V = 1"
    names = names_in(text)
    assert (names.loads, names.hints) == ({"T", "R"}, {"U", "list", "V"})
    names = names_in(text, annotations_are_text=True)
    assert (names.loads, names.hints) == (set(), {"T", "U", "list", "R", "V"})


def test_a_literal_names_nothing() -> None:
    assert names_in("x: Literal['a'] = 'a'").hints == set()


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("x.a = 1", "x"),
        ("x[0].b += 1", "x"),
        ("del x[0]", "x"),
        ("for x.a in y: pass", "x"),
        ("with a as x.b: pass", "x"),
        ("x.append(1)", "x"),
        ("x.get(1).add(2)", "x"),
        ("y = x.pop()", "x"),
        ("if y: x.append(1)", "x"),
        ("random.shuffle(x)", "random x"),
        ("heappush(x, 1)", "x"),
        ("x.look()", "x"),
        ("await x.look()", "x"),
        ("y = x.look()", ""),
        ("@x.register\ndef f(): pass", "x"),
        ("@x.route('/')\ndef f(): pass", "x"),
        ("def f(): x.append(1)", ""),
        ("print(x)", ""),
    ],
)
def test_what_changes_a_value(text: str, changes: str) -> None:
    names = names_in(text)
    assert names.changes | names.may_change == set(changes.split())


def test_an_expression_whose_value_was_shown_changes_nothing_unless_its_name_says_so() -> None:
    assert names_in("x.head()", is_look=True).may_change == set()
    assert names_in("x.pop()", is_look=True).changes == {"x"}


def test_what_a_function_changes_when_it_is_called() -> None:
    names = names_in(
        "def f(rows):\n    local = []\n    local.append(1)\n    x.append(1)\n    y[0] = 1"
    )
    assert names.changes_later | names.may_change_later == {"x", "y"}
    assert not names.changes_given
    assert names_in("def f(rows): rows.append(1)").changes_given


def test_calls_and_what_they_are_given() -> None:
    names = names_in("f(g(a), *b, key=c)")
    assert Call("f", ("b", "c")) in names.calls
    assert Call("g", ("a",)) in names.calls
    assert Call("c") in names.calls
    assert names_in("@d\ndef f(): h()").calls == [Call("d")]
    assert names_in("@d\ndef f(): h()").calls_later == [Call("h")]


@pytest.mark.parametrize(
    "text",
    ["x = await f()", "async for i in x: pass", "async with x: pass", "y = [i async for i in x]"],
)
def test_awaiting_outside_a_function_is_seen(text: str) -> None:
    assert names_in(text).awaits
    assert names_in(text).binds <= {"x", "y", "i"}


def test_awaiting_in_a_function_is_nothing_special() -> None:
    assert not names_in("async def f(): return await g()").awaits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a >> b", "A >> B"),
        ("a(a.a, a=a)  # a", "A(A.a, a=A)  # a"),
        ("é = a; a", "é = A; a"),
        ("f(lambda x: a)", "f(lambda x: a)"),
        ("[a for a in a]", "[a for a in A]"),
        ("Step.map_over(\n    'a',\n    a,\n)", "Step.map_over(\n    'a',\n    A,\n)"),
        ("a = b", "a = B"),
    ],
)
def test_names_that_a_statement_loads_itself_are_replaced(text: str, told: str) -> None:
    assert renamed(text, {"a": "A", "b": "B"}) == told
