"""Edits that leave a step what it is, and what steps use that nothing keeps track of."""

from __future__ import annotations

from typing import NamedTuple

from tests.edits import WORK, Edit, beside, edit, of_step

ADDS = "def work(x):\n    return x + 1"
HELPED = "def work(x):\n    return help(x)"
LONG = "def work(x):\n    return [n for n in x if n and not n.y or n is LIMIT]"

OF_HOW_IT_IS_WRITTEN = {
    "a comment": of_step(ADDS, "+ 1", "+ 1  # one more"),
    "a comment line": of_step(ADDS, "    return", "    # one more\n    return"),
    "a type comment": of_step(ADDS, "(x):", "(x):  # type: (int) -> int"),
    "a docstring": of_step(ADDS, "    return", "    'One more.'\n    return"),
    "another docstring": of_step(f"{ADDS[:13]}    'One.'\n{ADDS[13:]}", "'One.'", "'One more.'"),
    "the docstring of a class": beside(
        "class Kind:\n    'One.'", "def work(x):\n    return Kind", "'One.'", "'Two.'"
    ),
    "a blank line": of_step(ADDS, "    return", "\n\n    return"),
    "blanks": of_step(ADDS, "x + 1", "x  +  1"),
    "another indentation": of_step(ADDS, "    return", "  return"),
    "one line": of_step(ADDS, "\n    return", " return"),
    "parentheses": of_step(ADDS, "x + 1", "((x) + 1)"),
    "a line continuation": of_step(ADDS, "x + 1", "x \\\n        + 1"),
    "an expression over two lines": of_step(ADDS, "x + 1", "(\n        x\n        + 1)"),
    "a condition over two lines": of_step(LONG, " or n", "\n        or n"),
    "a comprehension over three lines": of_step(LONG, " if n and", "\n        if n\n     and"),
    "a semicolon": of_step("def work(x):\n    y = x\n    return y", "\n    return", "; return"),
    "a trailing comma": of_step("def work(x):\n    return max(x, 1)", "1)", "1,)"),
    "a trailing comma of a parameter": of_step(ADDS, "(x)", "(x,)"),
    "the style of quotes": of_step("def work(x):\n    return 'a'", "'a'", '"a"'),
    "three quotes": of_step("def work(x):\n    return 'a'", "'a'", '"""a"""'),
    "a raw text": of_step("def work(x):\n    return 'a'", "'a'", "r'a'"),
    "a text in two pieces": of_step("def work(x):\n    return 'ab'", "'ab'", "'a' 'b'"),
    "how a number is written": of_step("def work(x):\n    return 1000", "1000", "1_000"),
    "a sum of constants": of_step("def work(x):\n    return 6", "6", "2 * 3"),
    "a pass": of_step(ADDS, "    return", "    pass\n    return"),
    "a return of nothing": of_step("def work(x):\n    x()", "x()", "x()\n    return None"),
    "code that cannot be reached": of_step(ADDS, "+ 1", "+ 1\n    return x"),
    "the annotation of a local variable": of_step(
        "def work(x):\n    y = x\n    return y", "y = x", "y: int = x"
    ),
    "the head of the cell": edit(f"# one\n{WORK}{ADDS}", old="# one", new="# two"),
    "a line above in the cell": of_step(ADDS, "def work", "unrelated = 1\n\n\ndef work"),
    "a line below in the cell": of_step(f"{ADDS}\n#", "#", "unrelated = 1"),
}
IN_OTHER_CELLS = {
    "a cell that has nothing to do with it": beside("other = 1", ADDS, "other = 1", "other = 2"),
    "a function that it does not use": beside(
        "def help(x): return 1", ADDS, "return 1", "return 2"
    ),
    "a new name": beside("other = 1", ADDS, "other", "another"),
    "the comments of a helper": beside(
        "def help(x):\n    return x", HELPED, "return x", "# as it is\n    return x"
    ),
    "a helper that is defined again": beside(
        "def help(x):\n    return x\n#", HELPED, "#", "# again"
    ),
    "a helper's docstring": beside(
        "def help(x):\n    return x", HELPED, "return x", "'Help.'\n    return x"
    ),
    "a helper further down in its cell": beside(
        "other = 1\ndef help(x):\n    return x", HELPED, "1\n", "1\n\n\n\n"
    ),
    "the order of imports": beside(
        "import math\nimport json",
        "def work(x):\n    return json, math",
        "math\nimport json",
        "json\nimport math",
    ),
    "an import that it does not use": beside(
        "import json", "def work(x):\n    return json", "import json", "import json, math"
    ),
    "a module that is imported again": beside(
        "import json\n#", "def work(x):\n    return json.dumps(x)", "#", "importlib.reload(json)"
    ),
    "a constant of the same value": beside(
        "LIMIT = 4", "def work(x):\n    return LIMIT", "4", "2 * 2"
    ),
    "the order of a set": beside(
        "LIMIT = frozenset(['a', 'b'])", "def work(x):\n    return LIMIT", "'a', 'b'", "'b', 'a'"
    ),
    "a decorator whose work was not made again": edit(
        "def twice(f):\n    def called(x): return f(f(x))\n    return called",
        f"{WORK}@twice\n{ADDS}",
        old="f(f(x))",
        new="f(x)",
    ),
    "a default's source whose work was not made again": beside(
        "LIMIT = 1", "def work(x, n=LIMIT):\n    return n", "1", "2"
    ),
    "the order of a class's methods": beside(
        "class Kind:\n    def a(self): pass\n    def b(self): pass",
        "def work(x):\n    return Kind",
        "def a(self): pass\n    def b(self): pass",
        "def b(self): pass\n    def a(self): pass",
    ),
    "an option at its default": edit(
        f"{WORK}@step(max_retries=None)\n{ADDS}", old="max_retries=None", new="timeout_s=None"
    ),
}
RATE = "rate = 1\ndef helper(): return 1"
OF_NAMES = {
    "a global that is named like an attribute": beside(
        RATE, "def work(x):\n    return x.rate", "rate = 1", "rate = 2"
    ),
    "a function that is named like a method": beside(
        RATE, "def work(x):\n    return x.helper()", "return 1", "return 2"
    ),
    "a global that is named in a text": beside(
        RATE, "def work(x):\n    return 'rate'", "rate = 1", "rate = 2"
    ),
    "a global that is named like a keyword": beside(
        RATE, "def work(x):\n    return dict(rate=x)", "rate = 1", "rate = 2"
    ),
    "a global that is named like the parameter": beside(
        RATE, "def work(rate):\n    return rate", "rate = 1", "rate = 2"
    ),
    "a global that is named like a local variable": beside(
        RATE, "def work(x):\n    rate = x\n    return rate", "rate = 1", "rate = 2"
    ),
    "a global that is named like a comprehension's variable": beside(
        RATE, "def work(x):\n    return [rate for rate in x]", "rate = 1", "rate = 2"
    ),
    "a global that is named like a variable of a function around": beside(
        RATE,
        "def work(x):\n    rate = x\n    def inner(): return rate\n    return inner()",
        "rate = 1",
        "rate = 2",
    ),
    "a global that is named like the step": edit(
        "def help(x): return x",
        "work = Step.from_callable(help, name='rate')",
        "rate = 1",
        old="rate = 1",
        new="rate = 2",
    ),
    "a global that is named in a local annotation": beside(
        RATE, "def work(x):\n    y: rate = x\n    return y", "rate = 1", "rate = 2"
    ),
    "a global that is named like a function of a module": beside(
        "import math\nsqrt = 1", "def work(x):\n    return math.sqrt(x)", "sqrt = 1", "sqrt = 2"
    ),
}


class State(NamedTuple):
    """What a step uses and may change: the cell that makes it, what happens to it, its name."""

    cell: str
    change: str
    body: str
    told: str


USES = "def work(x):\n    return seen"
COUNTING = """\
count = 0
def counted(x):
    global count
    count += 1
    return count
"""
STATES = {
    "a list that is appended to": State("seen = [1]", "seen.append(2)", USES, "seen (list)"),
    "a list that is exchanged": State("seen = [1]", "seen = [2]", USES, "seen (list)"),
    "a dict that is filled": State("seen = {}", "seen['a'] = 1", USES, "seen (dict)"),
    "a set that is filled": State("seen = {1}", "seen.add(2)", USES, "seen (set)"),
    "a list in a tuple": State("seen = ([],)", "seen[0].append(1)", USES, "seen[0] (list)"),
    "a table": State(
        "import pandas\nseen = pandas.DataFrame({'a': [1]})",
        "seen.loc[0, 'a'] = 2",
        USES,
        "seen (DataFrame)",
    ),
    "an array": State("import numpy\nseen = numpy.zeros(2)", "seen[0] = 1", USES, "seen (ndarray)"),
    "a client": State(
        "class Client:\n    calls = 0\nseen = Client()", "seen.calls += 1", USES, "seen (Client)"
    ),
    "a counter": State("seen = itertools.count()", "next(seen)", USES, "seen (count)"),
    "a model's instance": State(
        "class Kind(BaseModel):\n    n: int\nseen = Kind(n=1)", "seen.n = 2", USES, "seen (Kind)"
    ),
    "a constant that is large": State("seen = 'a' * 10**5", "seen += 'b'", USES, "seen (str)"),
    "a count that the step itself keeps": State(
        "count = 0",
        "count = 5",
        "def work(x):\n    global count\n    count += 1\n    return count",
        "count (int)",
    ),
    "a count that a helper keeps": State(
        COUNTING, "counted(1)", "def work(x):\n    return counted(x)", "count (int)"
    ),
    "a count that a helper keeps and the step reads": State(
        COUNTING, "counted(1)", "def work(x):\n    return counted(x) + count", "count (int)"
    ),
    "a global that the step makes": State(
        "made = 1\ndel made",
        "made = 2",
        "def work(x):\n    global made\n    made = x\n    return made",
        "made",
    ),
    "a count that two closures share": State(
        "def make():\n    count = 0\n    def up():\n        nonlocal count\n        count += 1\n"
        "    return up, lambda: count\nup, get = make()",
        "up()",
        "def work(x):\n    up()\n    return get()",
        "count (int)",
    ),
    "an attribute of a function": State(
        "def keep(x):\n    keep.calls += 1\nkeep.calls = 0",
        "keep(1)",
        "def work(x):\n    return keep(x)",
        "keep.calls (int)",
    ),
    "what a closure collects": State(
        "def make():\n    rows = []\n    def keep(x):\n        rows.append(x)\n"
        "        return rows\n    return keep\nkeep = make()",
        "keep(1)",
        "def work(x):\n    return keep(x)",
        "rows (list)",
    ),
    "a default that is collected in": State(
        "def keep(x, rows=[]):\n    rows.append(x)\n    return rows",
        "keep(1)",
        "def work(x):\n    return keep(x)",
        "keep(0) (list)",
    ),
}
DO_NOT: dict[str, Edit] = {
    f"{group}: {name}": one
    for group, edits in {
        "writing": OF_HOW_IT_IS_WRITTEN,
        "other cells": IN_OTHER_CELLS,
        "names": OF_NAMES,
    }.items()
    for name, one in edits.items()
}
