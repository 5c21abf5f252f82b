"""Edits that make a step another one."""

from __future__ import annotations

from tests.edits import AGENTS, WORK, Edit, beside, edit, of_step, with_rest

ADDS = "def work(x):\n    return x + 1"
HELPED = "def work(x):\n    return help(x)"
READS = "def work(x):\n    return LIMIT"
MAKES = "def work(x):\n    return Kind"
CALLS = "def work(x):\n    return Kind().apply(x)"
NODE = "a = Step.from_callable(lambda x: x, name='a')\nb = Step.from_callable(str, name='b')\n"

OF_ITS_CODE = {
    "an operator": of_step(ADDS, "+", "-"),
    "a number in it": of_step(ADDS, "1", "2"),
    "the type of a number": of_step(ADDS, "1", "1.0"),
    "the order of its statements": of_step(
        "def work(x):\n    x += 1\n    x *= 2\n    return x",
        "x += 1\n    x *= 2",
        "x *= 2\n    x += 1",
    ),
    "a condition turned round": of_step(
        "def work(x):\n    return 1 if x and x.y else 2", "x and x.y", "x or x.y"
    ),
    # The names of variables are code: `locals()` and tracebacks tell them.
    "the name of a local variable": of_step("def work(x):\n    y = x\n    return y", "y", "z"),
    "a dict that it makes": of_step("def work(x):\n    return {'a': 1}[x]", "'a': 1", "'a': 2"),
    "the exception that it catches": of_step(
        "def work(x):\n    try:\n        return x()\n    except KeyError:\n        return 0",
        "KeyError",
        "ValueError",
    ),
    "how much a try covers": of_step(
        "def work(x):\n    try:\n        y = x()\n        y = y()\n    except KeyError:\n"
        "        y = 0\n    return y",
        "        y = y()\n    except KeyError:\n        y = 0\n",
        "    except KeyError:\n        y = 0\n    y = y()\n",
    ),
    "the name of a keyword that it passes": of_step(
        "def work(x):\n    return dict(a=x)", "a=x", "b=x"
    ),
    "a default": of_step("def work(x, n=1):\n    return n", "n=1", "n=2"),
    "a keyword's default": of_step("def work(x, *, n=1):\n    return n", "n=1", "n=2"),
    "a default that is a tuple": of_step("def work(x, n=(1, 2)):\n    return n", "2)", "3)"),
    "what checks its input": of_step("def work(x: int):\n    return x", "int", "str"),
    "what checks its output": of_step("def work(x) -> int:\n    return x", "int", "str"),
    "a nested function": of_step(
        "def work(x):\n    def inner():\n        return x + 1\n    return inner()", "x + 1", "x - 1"
    ),
    "a lambda in it": of_step("def work(x):\n    return max(x, key=lambda n: n)", "n: n", "n: -n"),
    "a comprehension": of_step(
        "def work(x):\n    return [n for n in x if n]", "if n]", "if not n]"
    ),
    "a class in it": of_step(
        "def work(x):\n    class K:\n        n = 1\n    return K.n", "n = 1", "n = 2"
    ),
    "the body of a coroutine": of_step(
        "async def work(x):\n    return await x()", "await x()", "await (await x())"
    ),
    "a coroutine instead of a function": of_step(ADDS, "def work", "async def work"),
    "what it streams": of_step("async def work(x):\n    yield 'a'", "'a'", "'b'"),
    "what a closure holds": edit(
        "def make(n):\n    def work(x):\n        return x * n\n    return work",
        "work = Step.from_callable(make(1))",
        old="make(1)",
        new="make(2)",
    ),
    "the lambda that is the step": edit(
        "work = Step.from_callable(lambda x: x + 1, name='work')", old="x + 1", new="x + 2"
    ),
    "the argument of a partial": edit(
        "work = Step.from_callable(functools.partial(pow, exp=2), name='work')", old="2", new="3"
    ),
    "a decorator of the user's own": with_rest(
        "def twice(f):\n    @functools.wraps(f)\n    def called(x):\n        return f(f(x))\n"
        "    return called",
        f"{WORK}@twice\n{ADDS}",
        old="f(f(x))",
        new="f(f(f(x)))",
    ),
    "a decorator more": edit(
        "def twice(f):\n    return lambda x: f(f(x))",
        f"{WORK}def add(x):\n    return x + 1\nadd = add",
        old="add = add",
        new="add = twice(add)",
    ),
}
PRICES = "%%writefile prices.py\nRATE = 1\ndef base(x):\n    return x\ndef price(x):\n    return "
RELOADED = "import prices\nprices = importlib.reload(prices)"
IN_OTHER_CELLS = {
    "a helper": beside("def help(x):\n    return x", HELPED, "return x", "return -x"),
    "a helper's default": beside("def help(x, n=1):\n    return n", HELPED, "n=1", "n=2"),
    "a helper of a helper": edit(
        "def deep(x):\n    return x",
        "def help(x):\n    return deep(x)",
        WORK + HELPED,
        old="return x",
        new="return -x",
    ),
    "a helper that was a class": beside(
        "class help:\n    def __init__(self, x): pass", HELPED, "class help:", "class help(str):"
    ),
    "a generator that it uses": beside(
        "def help(x):\n    yield x", HELPED, "yield x", "yield from x"
    ),
    "a helper behind a cache": beside(
        "@functools.cache\ndef help(x):\n    return x", HELPED, "return x", "return -x"
    ),
    "a helper behind a library's decorator": beside(
        "@contextlib.contextmanager\ndef help(x):\n    yield x", HELPED, "yield x", "yield -x"
    ),
    "a helper that is a partial": beside(
        "help = functools.partial(pow, 2)", HELPED, "(pow, 2)", "(pow, 3)"
    ),
    "a built-in that gets another meaning": beside(
        "def len(x):\n    return 1", "def work(x):\n    return len(x)", "return 1", "return 2"
    ),
    "a constant": beside("LIMIT = 1", READS, "1", "2"),
    "a constant of a helper": edit(
        "LIMIT = 1",
        "def help(x):\n    return x < LIMIT",
        WORK + HELPED,
        old="1",
        new="2",
    ),
    "a constant that only a comprehension reads": beside(
        "LIMIT = 1", "def work(x):\n    return [n for n in x if n < LIMIT]", "1", "2"
    ),
    "a text": beside("LIMIT = 'Be brief.'", READS, "brief", "long"),
    "a tuple": beside("LIMIT = (1, ('a', 'b'))", READS, "'b'", "'c'"),
    "a frozenset": beside("LIMIT = frozenset({1, 2})", READS, "2}", "3}"),
    "a regex": beside("LIMIT = re.compile(r'a+')", READS, "a+", "b+"),
    "the flags of a regex": beside("LIMIT = re.compile(r'a+')", READS, "'a+'", "'a+', re.I"),
    "a date": beside("LIMIT = datetime.date(2024, 1, 1)", READS, "1, 1", "1, 2"),
    "a decimal": beside("LIMIT = decimal.Decimal('1.0')", READS, "1.0", "1.00"),
    "a path": beside("LIMIT = Path('a')", READS, "'a'", "'b'"),
    "a list that becomes a tuple": beside("LIMIT = [1]", READS, "[1]", "(1,)"),
    "a function of an own module": edit(
        f"{PRICES}x * RATE",
        RELOADED,
        f"{WORK}def work(x):\n    return prices.price(x)",
        old="x * RATE",
        new="x / RATE",
        rest=True,
    ),
    "a helper in an own module": edit(
        f"{PRICES}base(x)",
        f"{RELOADED}\nfrom prices import price",
        f"{WORK}def work(x):\n    return price(x)",
        old="    return x\n",
        new="    return -x\n",
        rest=True,
    ),
    "a constant of an own module": edit(
        f"{PRICES}x",
        RELOADED,
        f"{WORK}def work(x):\n    return prices.RATE",
        old="RATE = 1",
        new="RATE = 2",
        rest=True,
    ),
}
MODEL = "class Kind(BaseModel):\n    n: int = 1\n"
DATA = "@dataclasses.dataclass\nclass Kind:\n    n: int = 1"
ENUM = "class Kind(enum.Enum):\n    RED = 1"
FROZEN = "@dataclasses.dataclass(frozen=True)\nclass Kind:\n    n: int\nLIMIT = Kind(1)"
OF_CLASSES = {
    "a method": beside(
        "class Kind:\n    def apply(self, x):\n        return x", CALLS, "return x", "return -x"
    ),
    "a class method": beside(
        "class Kind:\n    @classmethod\n    def apply(cls, x):\n        return x",
        CALLS,
        "return x",
        "return -x",
    ),
    "a property": beside(
        "class Kind:\n    @property\n    def apply(self):\n        return abs", CALLS, "abs", "str"
    ),
    "a partial method": beside(
        "class Kind:\n    def add(self, n, x):\n        return n + x\n"
        "    apply = functools.partialmethod(add, 1)",
        CALLS,
        "(add, 1)",
        "(add, 2)",
    ),
    "a class's attribute": beside(
        "class Kind:\n    n = 1\n    def apply(self, x):\n        return self.n",
        CALLS,
        "n = 1",
        "n = 2",
    ),
    "a base class": with_rest(
        "class Base:\n    def apply(self, x):\n        return x",
        "class Kind(Base): pass",
        WORK + CALLS,
        old="return x",
        new="return -x",
    ),
    "which class is the base": edit(
        "class One: pass\nclass Other: pass",
        "class Kind(One): pass",
        WORK + MAKES,
        old="(One)",
        new="(Other)",
    ),
    "a metaclass": with_rest(
        "class Meta(type):\n    def __call__(cls):\n        return 1",
        "class Kind(metaclass=Meta): pass",
        WORK + CALLS,
        old="return 1",
        new="return 2",
    ),
    "the type of a model's field": beside(MODEL, MAKES, "int", "str"),
    "the default of a model's field": beside(MODEL, MAKES, "1", "2"),
    "a rule of a model's field": beside(MODEL, MAKES, "= 1", "= Field(1, gt=0)"),
    "a field more": beside(MODEL, MAKES, "n: int", "m: int = 0\n    n: int"),
    "a model's validator": beside(
        f"{MODEL}    @field_validator('n')\n    def check(cls, n):\n        return n",
        MAKES,
        "return n",
        "return -n",
    ),
    "a model's settings": beside(MODEL, MAKES, "(BaseModel)", "(BaseModel, extra='forbid')"),
    "the model of a model's field": with_rest(
        "class Inner(BaseModel):\n    n: int",
        "class Kind(BaseModel):\n    inner: Inner",
        WORK + MAKES,
        old="n: int",
        new="n: float",
    ),
    "the default of a dataclass's field": beside(DATA, MAKES, "1", "2"),
    "an option of a dataclass": beside(DATA, MAKES, "dataclass\n", "dataclass(order=True)\n"),
    "the value of an enum's member": beside(ENUM, MAKES, "1", "2"),
    "an enum's member more": beside(ENUM, MAKES, "1", "1\n    BLUE = 2"),
    "a field of a named tuple": beside(
        "class Kind(NamedTuple):\n    a: int\n    b: int", MAKES, "b: int", "c: int"
    ),
    "a field of a frozen constant": beside(FROZEN, READS, "Kind(1)", "Kind(2)"),
    "the class that checks its input": with_rest(
        MODEL, f"{WORK}def work(x: Kind):\n    return x", old="1", new="2"
    ),
    "the class that a text names to check its input": with_rest(
        MODEL, f"{WORK}def work(x: 'Kind'):\n    return x", old="1", new="2"
    ),
}


def option(given: str, old: str, new: str, *cells: str) -> Edit:
    """An edit of an option of the step."""
    return edit(*cells, f"{WORK}@step({given})\n{ADDS}", old=old, new=new, rest=True)


CHECK = """\
class Check:
    def __init__(self, most):
        self.most = most
    def validate(self, output):
        return ValidationResult(is_valid=output < self.most)
"""
OF_OPTIONS = {
    "retries": option("max_retries=1", "=1", "=2"),
    "a time-out": option("timeout_s=1", "=1", "=2"),
    "an estimate": option("estimate=UsageEstimate(tokens=1)", "=1", "=2"),
    "a sink": option("sink_to='a'", "'a'", "'b'"),
    "updates of the context": option("updates_context=False", "False", "True"),
    "an input template": option("input='{{ data }}'", "{{ data }}", "Say {{ data }}"),
    "a rate": option("rate='60/min'", "60", "30"),
    "a run in the background": option("execution_mode='sync'", "sync", "background"),
    "at most once": option("at_most_once=False", "False", "True"),
    "a note for readers": option("meta={'by': 'ann'}", "ann", "bob"),
    "the code of a fallback": option(
        "fallback_step=Step.from_callable(lambda x: 1, name='spare')", "x: 1", "x: 2"
    ),
    "another fallback": option("fallback_step=a", "=a", "=b", NODE),
    "what a validator was given": option("validators=[Check(1)]", "Check(1)", "Check(2)", CHECK),
    "the code of a validator": option("validators=[Check(1)]", "<", "<=", CHECK),
    "a plugin": option("plugins=[(Check(1), 1)]", "Check(1)", "Check(2)", CHECK),
    "the priority of a plugin": option("plugins=[(Check(1), 1)]", ", 1)]", ", 2)]", CHECK),
    "a prompt processor": option(
        "processors=AgentProcessors(prompt_processors=[lambda x: x])", "x: x", "x: -x"
    ),
    "an output processor": option(
        "processors=AgentProcessors(output_processors=[lambda x: x])", "x: x", "x: -x"
    ),
}


def made(node: str, old: str, new: str, *cells: str) -> Edit:
    """An edit of a cell that makes a step or pipeline of others."""
    return edit(NODE, *cells, f"work = {node}", old=old, new=new, rest=True)


LOOP = "Step.loop_until('work', a, lambda x: x > 1, max_loops=3)"
PARALLEL = "Step.parallel('work', {'x': a, 'y': b}, reduce=lambda found: found['x'])"
BRANCH = "Step.branch_on('work', lambda x: x > 1, {True: a, False: b})"
ASKS = "HumanInTheLoopStep(name='work', message_for_user='Go?', input_schema=Kind)"
OF_CONTAINERS = {
    "the order of the steps": made("a >> b", "a >> b", "b >> a"),
    "a step more": made("a >> b", "a >> b", "a >> b >> a"),
    "the code of a step inside": edit(
        "%%flujo step a --no-run\ndef a(x):\n    return x",
        "%%flujo pipeline work --no-run\na >> a",
        old="return x",
        new="return -x",
        rest=True,
    ),
    "a loop's condition": made(LOOP, "x > 1", "x > 2"),
    "the constant of a loop's condition": edit(
        NODE,
        "LIMIT = 1",
        f"work = {LOOP.replace('> 1', '> LIMIT')}",
        old="LIMIT = 1",
        new="LIMIT = 2",
    ),
    "a loop's limit": made(LOOP, "max_loops=3", "max_loops=4"),
    "a loop's mapper": made(
        LOOP.replace("max_loops=3", "iteration_input_mapper=lambda x: x"), "x: x)", "x: -x)"
    ),
    "the key of a branch": made(PARALLEL, "'x': a", "'z': a"),
    "the step of a branch": made(PARALLEL, "'x': a", "'x': b"),
    "how branches are joined": made(PARALLEL, "found['x']", "found['y']"),
    "how branches merge": made(
        PARALLEL.replace(
            "reduce=lambda found: found['x']", "merge_strategy=MergeStrategy.NO_MERGE"
        ),
        "NO_MERGE",
        "OVERWRITE",
    ),
    "a condition": made(BRANCH, "x > 1", "x > 2"),
    "the type of a branch's key": made(BRANCH, "{True: a, False: b}", "{1: a, 0: b}"),
    "a router": made(
        "Step.dynamic_parallel_branch('work', lambda x: 'x', {'x': a})", "x: 'x'", "x: ['x']"
    ),
    "a map's concurrency": made(
        "Step.map_over('work', a, max_concurrency=2)", "concurrency=2", "concurrency=3"
    ),
    "what a map does with failures": made(
        "Step.map_over('work', a, on_item_failure='keep')", "keep", "propagate"
    ),
    "what an import brings back": made(
        "ImportStep(name='work', pipeline=a >> b, outputs=[OutputMapping('x', 'y')])",
        "'y')",
        "'z')",
    ),
    "a cached step": made(
        "CacheStep(name='work', wrapped_step=a)", "wrapped_step=a", "wrapped_step=b"
    ),
    "a question": made(ASKS, "Go?", "Stop?", MODEL),
    "what answers a question": made(ASKS, "n: int", "n: float", MODEL),
}
AGENT = """\
def tool(n: int) -> int:
    return n + FEE
agent = Agent(
    TestModel(seed=1), system_prompt='Be brief.', output_type=str, tools=[tool],
    model_settings={'temperature': 0.5}, retries=1,
)
work = Step(name='work', agent=agent)
"""


def agent(old: str, new: str) -> Edit:
    """An edit of a cell with an agent, or of the constant that its tool uses."""
    return edit(AGENTS, "FEE = 1", AGENT, old=old, new=new)


OF_AGENTS = {
    "an agent's prompt": agent("brief", "long"),
    "an agent's output": agent("output_type=str", "output_type=int"),
    "an agent's tools": agent("tools=[tool]", "tools=[]"),
    "the code of a tool": agent("n + FEE", "n - FEE"),
    "what a tool tells the model": agent("return n", "'Adds.'\n    return n"),
    "a constant of a tool": agent("FEE = 1", "FEE = 2"),
    "an agent's settings": agent("0.5", "0.6"),
    "an agent's retries": agent("retries=1", "retries=2"),
    "a model's settings": agent("seed=1", "seed=2"),
}
MATTER = {
    f"{group}: {name}": one
    for group, edits in {
        "code": OF_ITS_CODE,
        "other cells": IN_OTHER_CELLS,
        "classes": OF_CLASSES,
        "options": OF_OPTIONS,
        "containers": OF_CONTAINERS,
        "agents": OF_AGENTS,
    }.items()
    for name, one in edits.items()
}
