"""The meter: reserved + spent never exceeds a limit, and every claim is closed."""

import dataclasses
import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from outthink.core.budget import Budget, Meter, Price, Usage, quantity
from outthink.core.errors import BadInput, BudgetExhausted

COUNTS = ("calls", "tokens", "total_tokens", "usd", "flops")

budgets = st.builds(
    Budget,
    tokens=st.none() | st.integers(1, 10**9),
    total_tokens=st.none() | st.integers(1, 10**9),
    calls=st.none() | st.integers(1, 10**9),
    seconds=st.none() | st.floats(1e-3, 1e6),
    usd=st.none() | st.floats(1e-6, 1e6),
    flops=st.none() | st.floats(1.0, 1e24),
)


@given(budgets)
def test_parse_and_str_are_inverse(budget):
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Budget()),
        ("tokens=20k, seconds=30, usd=0.05", Budget(tokens=20_000, seconds=30, usd=0.05)),
        ("total_tokens=1.5M", Budget(total_tokens=1_500_000)),
        ("seconds=500ms", Budget(seconds=0.5)),
        ("seconds=2min,calls=3", Budget(seconds=120, calls=3)),
        ("completion_tokens=7", Budget(tokens=7)),
        ("flops=2P", Budget(flops=2e15)),
    ],
)
def test_parse(text, expected):
    assert Budget.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tokens", "tokens=", "tokens=x", "tokens=-3", "tokens=0", "tokens=1.5", "tokns=3",
        "tokens=1,tokens=2", "tokens=1,completion_tokens=2", "seconds=1k", "tokens=3min",
        "tokens=1e999", "usd=nan", "usd=inf", "calls=2q", "=3", "tokens=3=4",
    ],
)  # fmt: skip
def test_bad_budgets_are_refused_as_bad_input(text):
    with pytest.raises(BadInput):
        Budget.parse(text)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "3", 2.5])
def test_bad_limits_in_the_constructor(value):
    with pytest.raises(BadInput):
        Budget(tokens=value)


def test_an_unknown_limit_names_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'tokens'"):
        Budget.parse("tokenz=3")


@given(st.floats(0, 1e9, allow_nan=False))
def test_quantity_reads_what_repr_writes(x):
    assert quantity(repr(x)) == x


def test_price_counts_cached_tokens_at_their_own_price():
    price = Price(prompt=10, completion=20, cached=1, flops_per_token=3)
    usage = price.usage(100, 50, cached=40)
    assert usage.usd == pytest.approx((60 * 10 + 40 * 1 + 50 * 20) / 1e6)
    assert usage.flops == 3 * (60 + 50)
    assert usage.total_tokens == 150


@given(
    st.integers(0, 5000), st.integers(1, 40), st.integers(1, 10**6), st.floats(1e-4, 10),
    st.floats(0, 100), st.floats(0, 1e6),
)  # fmt: skip
def test_what_is_called_affordable_can_be_reserved_and_one_more_cannot(
    prompt, n, tokens, usd, per_million, flops
):
    price = Price(per_million, per_million, flops_per_token=flops)
    budget = Budget(tokens=tokens, total_tokens=2 * tokens, usd=usd, flops=1e9, calls=5)
    meter = Meter(budget)
    most = meter.affordable_tokens(price, prompt, n)
    if most > 0:
        meter.reserve(price.usage(prompt, most * n)).release()
    assert meter.binding(price.usage(prompt, (most + 1) * n)) is not None


def test_a_claim_is_closed_once():
    claim = Meter(Budget()).reserve(Usage(calls=1))
    claim.release()
    with pytest.raises(RuntimeError):
        claim.settle(Usage())


def test_another_attempt_spends_a_call_or_is_refused():
    meter = Meter(Budget(calls=2))
    claim = meter.reserve(Usage(calls=1))
    claim.another_attempt()
    with pytest.raises(BudgetExhausted):
        claim.another_attempt()
    claim.settle(Usage(calls=1))
    assert meter.spent.calls == 2


def test_the_deadline_refuses_claims():
    now = [0.0]
    meter = Meter(Budget(seconds=2), clock=lambda: now[0])
    meter.reserve(Usage(calls=1)).release()
    now[0] = 2.5
    with pytest.raises(BudgetExhausted) as error:
        meter.reserve(Usage(calls=1))
    assert error.value.limit == "seconds"


def test_no_claim_after_an_overdraft_even_in_a_child():
    meter = Meter(Budget(tokens=100))
    claim = meter.reserve(Usage(calls=1, completion_tokens=50))
    assert claim.settle(Usage(calls=1, completion_tokens=120)) == "tokens"
    child = Meter(Budget(), meter)
    with pytest.raises(BudgetExhausted):
        child.reserve(Usage(calls=1))


small = st.builds(
    Budget,
    tokens=st.none() | st.integers(1, 400),
    total_tokens=st.none() | st.integers(1, 800),
    calls=st.none() | st.integers(1, 12),
    usd=st.none() | st.floats(1e-5, 1e-2),
    flops=st.none() | st.floats(1.0, 1e5),
)
PRICE = Price(5.0, 15.0, flops_per_token=100.0)


class MeterMachine(RuleBasedStateMachine):
    """Any interleaving of claims, retries, failures, cancellations and children."""

    def __init__(self):
        super().__init__()
        self.meters = []
        self.claims = []
        self.paid = {}
        self.overdrafts = False

    @precondition(lambda self: not self.meters)
    @rule(budget=small)
    def begin(self, budget):
        self.meters.append(Meter(budget))

    @precondition(lambda self: self.meters and len(self.meters) < 6)
    @rule(data=st.data(), budget=small)
    def spawn(self, data, budget):
        self.meters.append(Meter(budget, data.draw(st.sampled_from(self.meters))))

    @precondition(lambda self: self.meters)
    @rule(data=st.data(), prompt=st.integers(0, 60), completion=st.integers(0, 200))
    def claim(self, data, prompt, completion):
        meter = data.draw(st.sampled_from(self.meters))
        cost = PRICE.usage(prompt, completion)
        fits = meter.binding(cost) is None
        before = [m.reserved for m in meter.chain()]
        try:
            self.claims.append((meter.reserve(cost), prompt, completion))
            assert fits
        except BudgetExhausted:
            assert not fits
            assert [m.reserved for m in meter.chain()] == before

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), share=st.floats(0, 1))
    def finish(self, data, share):
        claim, prompt, completion = self._pop(data)
        actual = PRICE.usage(prompt, int(share * completion))
        over = claim.settle(actual)
        self._pay(claim.meter, actual)
        if not self.overdrafts:
            assert over is None

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def fail(self, data):
        claim, _, _ = self._pop(data)
        claim.settle(Usage(calls=1))
        self._pay(claim.meter, Usage(calls=1))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def cancel(self, data):
        self._pop(data)[0].release()

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), share=st.floats(0, 1))
    def retry(self, data, share):
        claim, prompt, completion = data.draw(st.sampled_from(self.claims))
        lost = PRICE.usage(prompt, int(share * completion), calls=0) if share else None
        try:
            claim.another_attempt(lost=lost)
            self._pay(claim.meter, Usage(calls=1) + (lost or Usage()))
        except BudgetExhausted:
            pass

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), extra=st.integers(1, 5000))
    def overdraw(self, data, extra):
        claim, prompt, completion = self._pop(data)
        actual = PRICE.usage(prompt, completion + extra)
        beyond = any(
            m.spent.amount(k) + m.reserved.amount(k) - claim.cost.amount(k) + actual.amount(k)
            > bound * (1 + 1e-6)
            for m in claim.meter.chain()
            for k, bound in m.budget.limits().items()
        )
        spent = any(
            m.spent.amount(k) + actual.amount(k) > bound * (1 + 1e-6)
            for m in claim.meter.chain()
            for k, bound in m.budget.limits().items()
        )
        over = claim.settle(actual)
        self._pay(claim.meter, actual)
        if beyond:  # what was promised to those still under way is gone: no other call is made
            self.overdrafts = True
            assert claim.meter.binding(Usage()) is not None
        if spent:
            assert over is not None

    def _pop(self, data):
        return self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))

    def _pay(self, meter, usage):
        for m in meter.chain():
            self.paid[id(m)] = self.paid.get(id(m), Usage()) + usage

    @invariant()
    def reserved_and_spent_stay_below_every_limit(self):
        if self.overdrafts:
            return
        for meter in self.meters:
            assert meter.overdrawn is None
            for limit, bound in meter.budget.limits().items():
                used = meter.spent.amount(limit) + meter.reserved.amount(limit)
                assert used <= bound * (1 + 1e-9), limit

    @invariant()
    def everything_is_charged_to_every_meter_above(self):
        for meter in self.meters:
            assert dataclasses.replace(meter.spent, estimated=False) == self.paid.get(
                id(meter), Usage()
            )

    @invariant()
    def nothing_reserved_without_an_open_claim(self):
        for meter in self.meters:
            mine = [c for c, _, _ in self.claims if meter in c.meter.chain()]
            assert meter.outstanding == len(mine)
            assert meter.reserved.completion_tokens == sum(c.cost.completion_tokens for c in mine)
            if not mine:
                assert meter.reserved == Usage()

    def teardown(self):
        for claim, _, _ in self.claims:
            claim.release()
        for meter in self.meters:
            assert meter.reserved == Usage()
            assert not meter.busy()


TestMeter = MeterMachine.TestCase
TestMeter.settings = settings(stateful_step_count=40)


def test_usage_adds_and_subtracts_every_field() -> None:
    a = Usage(**{f.name: i + 3 for i, f in enumerate(fields(Usage))})
    b = Usage(**{f.name: 2 * i + 1 for i, f in enumerate(fields(Usage))})
    for f in fields(Usage):
        if f.name != "estimated":
            assert getattr(a + b, f.name) == getattr(a, f.name) + getattr(b, f.name)
            assert getattr(a - b, f.name) == getattr(a, f.name) - getattr(b, f.name)
    assert (Usage() + Usage(estimated=True)).estimated
